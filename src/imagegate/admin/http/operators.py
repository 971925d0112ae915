"""`/admin/v1/operators`: the keys of operators."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import operators
from imagegate.admin.http.door import Change, JsonObject, Reading, Writing, reads, writes
from imagegate.admin.http.fields import Expiry, Scopes
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.admin.operators import operator_json

router = APIRouter()


class NewOperator(Change):
    name: Annotated[
        str, Field(min_length=1, max_length=200, description="How the audit log names its holder.")
    ]
    scopes: Scopes
    expires_at: Expiry | None = None


@reads(router, "/operators", Page, "List operators' keys")
async def list_operators(reading: Reading, page: Page) -> JsonObject:
    """Operators' keys, newest first, revoked and expired ones too."""
    rows = await operators.page_operators(reading.connection, after_id(page), page.rows)
    return listed(page, rows, operator_json, lambda operator: operator.id)


@writes(router, "/operators", "keys:write", NewOperator, "Issue an operator key", status=201)
async def create_operator(writing: Writing, body: NewOperator) -> JsonObject:
    """`key` is the key itself, shown this once. It has no scope that yours lacks, and ends no later than yours."""
    made, plain = await operators.create_operator(
        writing.tx,
        writing.services.keyring.key_pepper,
        body.name,
        body.scopes,
        body.expires_at,
        writing.actor,
        issuer=writing.operator,
    )
    return operator_json(made, plain)


@writes(router, "/operators/{operator}/revoke", "keys:write", Change, "Revoke an operator key")
async def revoke_operator(writing: Writing, _: Change) -> JsonObject:
    """For good, at once. Yours must have all of its scopes. Revoking again is no error."""
    named = writing.path["operator"]
    return operator_json(
        await operators.revoke_operator(writing.tx, named, writing.actor, revoker=writing.operator)
    )
