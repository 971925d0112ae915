"""`/admin/v1/allowances`: tokens granted anew each day or month."""

from typing import Annotated, Literal

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
