"""Looking for generations on a page: for a moment, and then further back when somebody says so."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from imagegate.admin.console.door import Visit
from imagegate.admin.generation_search import Found, Search, search_for
from imagegate.errors import InvalidRequest

PATIENCE_S = 0.06


async def look_back(visit: Visit, wanted: Search, after: UUID | None, rows: int) -> Found:
    """At most `rows`, newest first; those before the moment `before` if the address says one.

    What is rare in a long span is looked for as far as PATIENCE_S takes; `.json` and `.csv` look at all of it.
    """
    patience_s = None if visit.whole else PATIENCE_S
    return await search_for(
        visit.connection, replace(wanted, until=before_of(visit)), after, rows, patience_s
    )


def before_of(visit: Visit) -> datetime | None:
    """Raises InvalidRequest."""
    said = visit.frame.get("before")
    try:
        at = datetime.fromisoformat(said) if said is not None else None
    except ValueError:
        at = None
    if said is not None and (at is None or at.tzinfo is None):
        raise InvalidRequest("before is a moment, as 2027-01-31T12:00:00+00:00.", param="before")
    return at.astimezone(UTC) if at is not None else None


def further(found: Found) -> str | None:
    """What the address says as `before` to look further back; None: there is nothing that was not looked at."""
    return found.since.isoformat() if found.since is not None else None
