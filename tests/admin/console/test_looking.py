"""Pages look back for a moment, say how far they came, and go on from there."""

from datetime import UTC, datetime, timedelta

from httpx import AsyncClient

from imagegate.admin.generation_search import Search, search_for
from imagegate.services import Services
from tests.admin.console.conftest import Seat
from tests.conftest import Account


async def test_what_is_rare_is_looked_for_as_far_as_patience_takes(services: Services) -> None:
    now = datetime.now(UTC)
    wanted = Search(app="nobody", since=now - timedelta(days=90))

    async with services.engine.connect() as connection:
        hasty = await search_for(connection, wanted, None, 10, 0.0)
        thorough = await search_for(connection, wanted, None, 10, None)

    assert (hasty.rows, thorough.rows, thorough.since) == ([], [], None)
    assert hasty.since is not None
    assert timedelta(0) < now - hasty.since < timedelta(hours=2)


async def test_a_page_goes_on_before_a_moment(reader: Seat, client: AsyncClient, account: Account) -> None:
    body = {"model": "sandbox", "size": "256x256", "prompt": "a hill"}
    made = (await client.post("/v1/images/generations", json=body)).headers["x-imagegate-generation-id"]
    later, earlier = (datetime.now(UTC) + timedelta(hours=n) for n in (1, -1))

    for page in ("/console/requests", "/console/gallery"):
        asked = {"account": account.name, "env": "live"}
        shown = (await reader.get(page, **asked, before=later.isoformat())).text
        older = (await reader.get(page, **asked, before=earlier.isoformat())).text
        assert (made in shown, made in older) == (True, False), page
    assert (await reader.get("/console/requests", before="soon")).status_code == 400
