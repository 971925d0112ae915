"""Options and arguments that several verbs share, and the words they are written in."""

import os
import pwd
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from imagegate.domain import Size

Env = Literal["live", "test"]


def as_json(ctx: typer.Context, value: bool) -> bool:
    """True when --json stood before the verb or after it."""
    return value or bool(ctx.find_root().params.get("json"))


def a_size(text: str | None) -> str | None:
    from imagegate.domain import Size

    if text is not None and Size.parse(text) is None:
        raise typer.BadParameter(f"{text!r} is not a size: write it as 1024x1024.")
    return text


def a_prompt(text: str) -> str:
    if not text:
        raise typer.BadParameter("an empty prompt draws nothing: say in quotes what you want to see.")
    return text


def an_expiry(text: str | None) -> str | None:
    if text is not None and read_expiry(text) <= datetime.now(UTC):
        raise typer.BadParameter(f"{text!r} has passed already.")
    return text


def some_hours(text: str | None) -> str | None:
    if text is not None and re.fullmatch(r"default|\d{1,6}", text) is None:
        raise typer.BadParameter(f"{text!r} is neither a number of hours nor default.")
    return text


Json = Annotated[bool, typer.Option("--json", callback=as_json, help="Answer in JSON on stdout.")]
AccountName = Annotated[str, typer.Option("--account", metavar="NAME", help="Name of the account.")]
AnyAccountName = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Only of this account.")
]
EnvOption = Annotated[
    Env, typer.Option("--env", help="The environment: live costs, test draws with the sandbox.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept for ever.")]
ReasonOrNone = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept for ever in the audit log.")
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", "-s", metavar="WxH", callback=a_size, help="Size in pixels, as 1024x1024."),
]
ModelOption = Annotated[str | None, typer.Option("--model", "-m", help="Any name of a model.")]
CountOption = Annotated[int, typer.Option("-n", min=1, max=10, help="How many.")]
QualityOption = Annotated[str | None, typer.Option("--quality", "-q", help="low, medium, high …")]
Expires = Annotated[
    str | None,
    typer.Option(
        "--expires", metavar="WHEN", callback=an_expiry, help="30d, or the last day: 2027-01-31 (UTC)."
    ),
]

RoutingPolicy = Literal["catalogue", "cheapest", "fastest", "best", "balanced"]
"""As in the settings, which take a while to import."""

PolicyOrDefault = Annotated[
    Literal["off", "flag", "block", "default"],
    typer.Argument(metavar="POLICY", help="off, flag or block; default: that of the next level."),
]
RoutingOrDefault = Annotated[
    Literal[RoutingPolicy, "default"],
    typer.Argument(
        metavar="POLICY", help="catalogue, cheapest, fastest, best or balanced; default: the gateway's."
    ),
]

HoursOrDefault = Annotated[
    str | None,
    typer.Option(
        metavar="N", callback=some_hours, help="Hours, at least 24; default: the gateway's setting."
    ),
]


def read_hours(text: str) -> int | None:
    """What `some_hours` has let through; None for `default`."""
    return None if text == "default" else int(text)


def read_size(text: str | None) -> "Size | None":
    """A size that `a_size` has let through."""
    from imagegate.domain import Size

    return Size.parse(text) if text is not None else None


def read_expiry(text: str) -> datetime:
    """`30d`: so many days from now; `2027-01-31`: the end of that day, UTC. Raises BadParameter."""
    if days := re.fullmatch(r"(\d{1,5})d", text):
        return datetime.now(UTC) + timedelta(days=int(days[1]))
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither days, as 30d, nor a day, as 2027-01-31.") from None
    return day + timedelta(days=1, seconds=-1)


def actor() -> str:
    """Who is named beside what this process changes: the system's user."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"cli:{os.getuid()}"
