"""A table: one set of rows that a page shows and that `.json`, `.csv` and the admin API give as well."""

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from starlette.responses import JSONResponse, Response

from imagegate.admin.console.render import HEADERS

Row = dict[str, Any]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula."""


@dataclass(frozen=True, slots=True)
class Table:
    """rows: as the admin API gives them. columns: those of the CSV. api: the same rows' path there, with its query.

    next: what the next page begins after; None: there is none.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Row]
    api: str
    next: str | None = None

    def curl(self, base: str) -> str:
        """The command that fetches the same."""
        url = shlex.quote(f"{base}{self.api}")
        return f'curl -H "Authorization: Bearer $IMAGEGATE_OPERATOR_KEY" {url}'

    def as_json(self) -> Response:
        body = {
            "object": "list",
            "data": list(self.rows),
            "has_more": self.next is not None,
            "next": self.next,
        }
        return JSONResponse(body, headers=HEADERS)

    def as_csv(self) -> Response:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(self.columns)
        writer.writerows([cell(row.get(name)) for name in self.columns] for row in self.rows)
        name = f'attachment; filename="{self.name}.csv"'
        headers = {**HEADERS, "content-disposition": name}
        return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return to_json(value).decode()
