"""Limits and budgets as forms: shared by the pages of an account and of a key."""

from collections.abc import Mapping

from imagegate.admin import limits
from imagegate.admin.console.door import Doing, said, whole
from imagegate.admin.wallets import ENVS
from imagegate.errors import InvalidRequest
from imagegate.identity.limit_rows import NAMES, Scope

COLUMNS = ("account", "env", "scope", "scope_id", *NAMES, "day", "month")
WORDS = {
    "requests_per_min": "Requests a minute",
    "images_per_min": "Images a minute",
    "concurrent": "At once",
    "day_tokens": "Tokens a day",
    "month_tokens": "Tokens a month",
}
WHOM = ("account", "key", "team", "app")


def env_said(form: Mapping[str, str]) -> str:
    """Raises InvalidRequest."""
    env = form.get("env", "")
    if env not in ENVS:
        raise InvalidRequest("env is live or test.", param="env")
    return env


def read_changes(form: Mapping[str, str]) -> dict[str, int | None]:
    """With the field `all` an empty number takes its limit away; without it the limit stays. Raises InvalidRequest."""
    empty = {name: None for name in NAMES if form.get("all") == "1" and said(form, name) is None}
    return {**empty, **{name: whole(form, name) for name in NAMES if said(form, name) is not None}}


def read_whom(form: Mapping[str, str]) -> Scope:
    """Raises InvalidRequest and NotFound."""
    kind, name = form.get("scope", "account"), said(form, "scope_id")
    if kind not in WHOM:
        raise InvalidRequest(f"Limits are for one of: {', '.join(WHOM)}.", param="scope")
    if kind == "account":
        return Scope()
    if name is None:
        raise InvalidRequest(f"Say which {kind}.", param="scope_id")
    return limits.read_scope(**{kind: name})


async def set_limits(doing: Doing, account: str, whom: Scope) -> None:
    """What the form says of them; with the button `clear` all are taken away."""
    env = env_said(doing.form)
    if doing.form.get("do") == "clear":
        await limits.clear_limits(doing.tx, account, env, whom, doing.actor)
    else:
        await limits.set_limits(doing.tx, account, env, whom, read_changes(doing.form), doing.actor)
