"""Options of `imagegate prices`, and how a difference between prices is asked about and shown."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.options import actor

if TYPE_CHECKING:
    from imagegate.admin.price_rules import Allowed
    from imagegate.admin.price_tools import Proposal
    from imagegate.cli.desk import Desk
    from imagegate.identity.audit import Actor

MOST_FILE_BYTES = 32 * 1024 * 1024
MOST_SKIPPED = 40
CHANGE_COLUMNS = ("model", "what", "size", "quality", "old", "new", "%")


def a_moment(text: str | None) -> str | None:
    if text is not None:
        read_moment(text)
    return text


ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Any of its names.")]
QualityOption = Annotated[
    str | None,
    typer.Option("--quality", "-q", help="low, medium (standard), high (hd) …; without it every one."),
]
ValidFrom = Annotated[
    str | None,
    typer.Option(
        "--valid-from",
        metavar="WHEN",
        callback=a_moment,
        help="From when on: 2027-01-31 (UTC) or 2027-01-31T09:00:00Z. Without it at once.",
    ),
]
AllowZero = Annotated[bool, typer.Option("--allow-zero", help="Let pictures cost nothing.")]
AllowUnpriced = Annotated[
    bool, typer.Option("--allow-unpriced", help="Let models, sizes or qualities lose their price.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Publish without asking.")]
FileName = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)]


def read_moment(text: str) -> datetime:
    """A day begins at midnight UTC; a time names its zone. Raises BadParameter."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no moment: write 2027-01-31 or 2027-01-31T09:00:00Z."
        ) from None
    if moment.tzinfo is None and len(text) > len("2027-01-31"):
        raise typer.BadParameter(f"{text!r} names no zone: end it with Z for UTC, or +06:00.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment_of(text: str | None) -> datetime | None:
    return read_moment(text) if text is not None else None


def acting(reason: str) -> "Actor":
    from imagegate.identity.audit import Actor

    return Actor(actor(), reason)


def allowing(zero: bool, unpriced: bool) -> "Allowed":
    from imagegate.admin.price_rules import Allowed

    return Allowed(zero, unpriced)


def read_text(path: Path) -> str:
    """Raises OperatorError for what is too large or no UTF-8."""
    from imagegate.errors import OperatorError

    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise OperatorError(f"{path} is larger than {MOST_FILE_BYTES} bytes, so it was not read.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise OperatorError(f"{path} is not UTF-8. Save it as UTF-8, as CSV or YAML.") from None
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}.") from None


def change_rows(proposal: "Proposal") -> list[tuple[str, ...]]:
    """The difference, one row a number."""
    return [
        (
            change.model,
            change.item,
            str(change.size or ("any" if change.item in ("image", "output_bound") else "")),
            change.quality or ("any" if change.item in ("image", "output_bound") else ""),
            "-" if change.old_tokens is None else f"{change.old_tokens:,}",
            "-" if change.new_tokens is None else f"{change.new_tokens:,}",
            change.percent or "",
        )
        for change in proposal.changes
    ]


def say_proposal(desk: "Desk", proposal: "Proposal") -> None:
    """What was left out, to stderr; the difference as a table. Under --json the answer has both."""
    if proposal.others:
        desk.say(f"{proposal.others} entries are no image models.")
    for skipped in proposal.skipped[:MOST_SKIPPED]:
        desk.say(f"skipped {skipped.name}: {skipped.reason}")
    if len(proposal.skipped) > MOST_SKIPPED:
        desk.say(f"skipped {len(proposal.skipped) - MOST_SKIPPED} more; --json lists them all.")
    if proposal.changes and not desk.json:
        desk.answer_table(None, CHANGE_COLUMNS, change_rows(proposal), "")


def agreed(desk: "Desk", proposal: "Proposal", yes: bool) -> bool:
    """--yes, or the answer of whoever sits at the terminal. Nobody there: no."""
    if yes or not proposal.terms:
        return bool(proposal.terms)
    if desk.json or not sys.stdin.isatty():
        return False
    models = len(proposal.terms)
    return typer.confirm(f"Publish {len(proposal.changes)} changes of {models} models?", err=True)


def with_status(proposal: "Proposal", published: list[Any]) -> dict[str, Any]:
    from imagegate.admin.price_tools import price_json

    return {**proposal.to_json(), "published": [price_json(price) for price in published]}
