"""`/admin/v1/audit`: who changed what, when and why."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import audit
from imagegate.admin.audit import EntryFilter, entry_json
from imagegate.admin.http.door import JsonObject, Reading, reads
from imagegate.admin.http.fields import Moment
from imagegate.admin.http.pages import Page, after_id, listed

router = APIRouter()


class AuditPage(Page):
    actor: Annotated[str | None, Field(description="As `operator:billing` or `cli:root`.")] = None
    action: Annotated[str | None, Field(description="As `keys.revoke`.")] = None
    account: Annotated[str | None, Field(description="Only of this account: `acc_…` or a name.")] = None
    since: Annotated[Moment | None, Field(description="Not older than this.")] = None


@reads(router, "/audit", AuditPage, "Read the audit log")
async def list_entries(reading: Reading, page: AuditPage) -> JsonObject:
    """Entries, newest first. `request_id` is the one of the request that made the change."""
    wanted = EntryFilter(page.actor, page.action, page.account, page.since)
    rows = await audit.page_entries(reading.connection, wanted, after_id(page), page.rows)
    return listed(page, rows, entry_json, lambda row: row.id)
