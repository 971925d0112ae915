"""`/admin/v1/accounts/{account}/limits/{env}`: how much an account, a key, a team or an app may ask for and spend."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import limits
from imagegate.admin.http.door import Change, JsonObject, Reading, Writing, reads, writes
from imagegate.admin.http.fields import Label, an_env
from imagegate.admin.http.pages import Query
from imagegate.identity.limit_rows import MOST, NAMES, Scope

router = APIRouter()

LIMITS = "/accounts/{account}/limits/{env}"

Name = Literal["requests_per_min", "images_per_min", "concurrent", "day_tokens", "month_tokens"]
Rate = Annotated[int | None, Field(ge=0, le=MOST["concurrent"], description="Of accounts and keys only.")]
Budget = Annotated[
    int | None, Field(ge=0, le=MOST["day_tokens"], description="Tokens of one period, in UTC.")
]


class ForSomebody(Change):
    """Whom limits are for: at most one is named; none = the account."""

    key: Annotated[str | None, Field(description="For this key alone: `key_…`")] = None
    team: Annotated[Label, Field(description="For all keys with this label.")] = None
    app: Annotated[Label, Field(description="For all requests of this app.")] = None

    def scope(self) -> Scope:
        return limits.read_scope(key=self.key, team=self.team, app=self.app)


class NewLimits(ForSomebody):
    """What is not said stays; null takes a limit away; 0 lets nothing through."""

    requests_per_min: Rate = None
    images_per_min: Rate = None
    concurrent: Rate = None
    day_tokens: Budget = None
    month_tokens: Budget = None


class Clearing(ForSomebody):
    only: Annotated[
        list[Name] | None, Field(min_length=1, max_length=len(NAMES), description="These alone; null = all.")
    ] = None


@reads(router, LIMITS, Query, "Show an account's limits")
async def list_limits(reading: Reading, _: Query) -> JsonObject:
    """The account's own and those of its keys, teams and apps; what is spent and held of budgets, and what is left."""
    env = an_env(reading.path["env"])
    found = await limits.show_limits(reading.connection, reading.path["account"], env)
    return {
        "object": "list",
        "data": [shown.to_json() for shown in found],
        "has_more": False,
        "next": None,
    }


@writes(router, LIMITS, "keys:write", NewLimits, "Set limits")
async def set_limits(writing: Writing, body: NewLimits) -> JsonObject:
    """The limits that are named; the others stay, and null takes one away. Every hold obeys them from now on."""
    changes = {name: getattr(body, name) for name in NAMES if name in body.model_fields_set}
    account, env = writing.path["account"], an_env(writing.path["env"])
    shown = await limits.set_limits(writing.tx, account, env, body.scope(), changes, writing.actor)
    return shown.to_json()


@writes(router, f"{LIMITS}/clear", "keys:write", Clearing, "Clear limits")
async def clear_limits(writing: Writing, body: Clearing) -> JsonObject:
    """All limits of the account itself, or of the key, team or app that is named; or `only` some of them."""
    account, env = writing.path["account"], an_env(writing.path["env"])
    only = body.only if body.only is not None else NAMES
    shown = await limits.clear_limits(writing.tx, account, env, body.scope(), writing.actor, only)
    return shown.to_json()
