"""`/admin/v1/allowances`: tokens granted anew each day or month."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import allowances
from imagegate.admin.http.door import Change, JsonObject, Reading, Writing, reads, writes
from imagegate.admin.http.fields import Env, Tokens
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.ids import parse_public_id

router = APIRouter()


class AllowancesPage(Page):
    account: Annotated[str, Field(description="`acc_…` or a name.")]
    ended: Annotated[bool, Field(description="With those that have ended.")] = False


class NewAllowance(Change):
    account: Annotated[str, Field(description="`acc_…` or a name.")]
    env: Env
    period: Annotated[Literal["day", "month"], Field(description="How often, in UTC.")]
    tokens: Annotated[Tokens, Field(description="Whole tokens each time.")]
    carry_over: Annotated[bool, Field(description="What is left stays; otherwise it goes back.")] = False


@reads(router, "/allowances", AllowancesPage, "List an account's allowances")
async def list_allowances(reading: Reading, page: AllowancesPage) -> JsonObject:
    """Those of both environments, newest first."""
    found = await allowances.list_allowances(reading.connection, page.account, ended=page.ended)
    rows = sorted(((id_of(row), row) for row in found), key=lambda pair: pair[0], reverse=True)
    after = after_id(page)
    left = [pair for pair in rows if after is None or pair[0] < after][: page.rows]
    return listed(page, left, lambda pair: pair[1], lambda pair: pair[0])


def id_of(row: JsonObject) -> UUID:
    found = parse_public_id("alw", row["id"])
    if found is None:
        raise ValueError(f"{row['id']!r} is no allowance's id")
    return found


@writes(router, "/allowances", "wallets:write", NewAllowance, "Set an allowance")
async def set_allowance(writing: Writing, body: NewAllowance) -> JsonObject:
    """Tokens now and at the beginning of each period; a wallet has one a day and one a month.

    Setting it again changes it, for the periods to come.
    """
    return await allowances.set_allowance(
        writing.tx,
        body.account,
        body.env,
        body.period,
        body.tokens,
        carry_over=body.carry_over,
        actor=writing.actor,
    )


@writes(router, "/allowances/{allowance}/end", "wallets:write", Change, "End an allowance")
async def end_allowance(writing: Writing, _: Change) -> JsonObject:
    """No more is granted. What is left of the last grant goes back now, unless it carries over. Again is no error."""
    return await allowances.end_allowance(writing.tx, writing.path["allowance"], writing.actor)
