"""What the address of a page says: span of time, environment, filters. All state is there, none elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from starlette.requests import Request

from imagegate.errors import InvalidRequest

RANGES: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
HOME, OVERVIEW = "/console", "/console/overview"
USUAL = "7d"
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Frame:
    """path: without `.json` and `.csv`. query: as it was sent, each name once."""

    path: str
    query: Mapping[str, str]
    now: datetime

    def get(self, name: str) -> str | None:
        """None where it is not said or empty."""
        return self.query.get(name, "").strip() or None

    @property
    def range(self) -> str:
        """Raises InvalidRequest."""
        name = self.get("range") or USUAL
        if name not in RANGES:
            raise InvalidRequest(f"range is one of {', '.join(RANGES)}.", param="range")
        return name

    @property
    def since(self) -> datetime:
        return self.now - RANGES[self.range]

    @property
    def ranges(self) -> list[str]:
        return list(RANGES)

    @property
    def env(self) -> str | None:
        """live, test, or None: nothing was chosen. Raises InvalidRequest."""
        name = self.get("env")
        if name not in (None, "live", "test"):
            raise InvalidRequest("env is live or test.", param="env")
        return name

    def url(self, path: str | None = None, **changes: str | None) -> str:
        """This address with other values; None takes one out. The next page belongs to the old ones, so it goes too."""
        kept = {name: value for name, value in self.query.items() if name != "after" and value}
        query = {name: value for name, value in {**kept, **changes}.items() if value}
        return (path or self.path) + (f"?{urlencode(query)}" if query else "")

    def form(self, kind: str) -> str:
        """The same rows as `json` or `csv`."""
        path = OVERVIEW if self.path == HOME else self.path  # the cookie is for what lies below
        return f"{quote(path)}.{kind}" + (f"?{urlencode(dict(self.query))}" if self.query else "")


def read_frame(request: Request) -> Frame:
    """Raises InvalidRequest."""
    sent = request.query_params.multi_items()
    if any(len(value) > LONGEST or "\0" in value for _, value in sent):
        raise InvalidRequest(f"What the address says is longer than {LONGEST} characters, or holds a NUL.")
    path = request.scope["path"].removesuffix(".json").removesuffix(".csv")
    return Frame(path, dict(sent), datetime.now(UTC))
