"""What a caller of GET /v1/images/generations gets: its own generations, newest first, each once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation import purge
from imagegate.ids import parse_public_id
from imagegate.journal import purging
from imagegate.services import Services
from tests.conftest import Account, open_account

PATH = "/v1/images/generations"
SMALL = {"model": "sandbox", "size": "256x256", "response_format": "url"}


async def draw(client: AsyncClient, prompt: str = "a hill", **more: Any) -> str:
    response = await client.post(PATH, json={**SMALL, "prompt": prompt, **more})
    assert response.status_code == 200, response.text
    made: str = response.json()["metadata"]["id"]
    return made


async def ids(client: AsyncClient, **query: Any) -> list[str]:
    response = await client.get(PATH, params=query)
    assert response.status_code == 200, response.text
    return [generation["id"] for generation in response.json()["data"]]


async def test_the_newest_stands_first_and_each_is_as_its_own_route_gives_it(client: AsyncClient) -> None:
    made = [await draw(client, n=2), await draw(client)]
    failed = await client.post(PATH, json={**SMALL, "prompt": "[[garbage]]"})
    assert failed.status_code == 502

    listed = (await client.get(PATH)).json()

    newest, *others = listed["data"]
    assert [generation["id"] for generation in others] == made[::-1]
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert (listed["first_id"], listed["last_id"]) == (newest["id"], made[0])
    assert (newest["status"], newest["error"]["code"]) == ("failed", "all_providers_failed")
    for generation in listed["data"]:
        alone = (await client.get(f"{PATH}/{generation['id']}")).json()
        links = [image.pop("url") for body in (generation, alone) for image in body.get("data", [])]
        assert generation == alone
        assert [(await client.get(link)).status_code for link in links] == [200] * len(links)
    assert [len(generation.get("data", [])) for generation in listed["data"]] == [0, 1, 2]


async def test_a_walk_meets_each_once_while_new_ones_arrive(client: AsyncClient) -> None:
    made = [await draw(client) for _ in range(5)]

    met: list[str] = []
    page = (await client.get(PATH, params={"limit": 2})).json()
    while True:
        met += [generation["id"] for generation in page["data"]]
        await draw(client, "a late one")
        if not page["has_more"]:
            break
        page = (await client.get(PATH, params={"limit": 2, "after": page["last_id"]})).json()

    assert met == made[::-1]


async def test_before_gives_the_newer_ones_that_stand_next(client: AsyncClient) -> None:
    made = [await draw(client) for _ in range(4)]

    page = (await client.get(PATH, params={"before": made[0], "limit": 2})).json()

    assert [generation["id"] for generation in page["data"]] == [made[2], made[1]]
    assert page["has_more"] is True
    assert await ids(client, before=made[0], after=made[3]) == [made[2], made[1]]
    assert await ids(client, before=made[3]) == []


async def test_an_empty_list_has_no_ends(client: AsyncClient) -> None:
    listed = (await client.get(PATH)).json()

    assert listed == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


async def test_others_are_neither_shown_nor_a_place_to_begin(
    client: AsyncClient, test_client: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    stranger = await open_account(services, engine)
    foreign = {"authorization": f"Bearer {stranger.key}"}
    theirs = (await client.post(PATH, json={**SMALL, "prompt": "theirs"}, headers=foreign)).json()[
        "metadata"
    ]["id"]
    in_test = await draw(test_client)
    own = await draw(client)

    assert await ids(client) == [own]
    assert await ids(test_client) == [in_test]
    for cursor in (theirs, in_test, "gen_" + "0" * 32, "nonsense"):
        for name in ("after", "before"):
            refused = await client.get(PATH, params={name: cursor})
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["param"]) == (404, "not_found", name)


async def test_filters_narrow_it(client: AsyncClient, account: Account, engine: AsyncEngine) -> None:
    first, second = await draw(client), await draw(client, model="dall-e-2", size="256x256")
    await client.post(PATH, json={**SMALL, "prompt": "[[garbage]]"})
    async with engine.begin() as tx:
        query = text(
            "UPDATE generations SET app_id = 'shop', created_at = created_at - interval '30 minutes' WHERE id = :id"
        )
        await tx.execute(query, {"id": parse_public_id("gen", first)})
    now = datetime.now(UTC)
    earlier = now - timedelta(minutes=15)

    assert await ids(client, status="completed") == [second, first]
    assert len(await ids(client, status="failed")) == 1
    for status in ("queued", "in_progress", "cancelled"):
        assert await ids(client, status=status) == []
    assert await ids(client, model="openai/dall-e-2") == await ids(client, model="dall-e-2") == [second]
    assert await ids(client, model="no-such-model") == []
    assert await ids(client, app="shop") == [first]
    assert await ids(client, created_before=str(int(earlier.timestamp()))) == [first]
    assert second in await ids(client, created_after=earlier.isoformat().replace("+00:00", "Z"))
    assert first not in await ids(client, created_after=earlier.isoformat())
    assert await ids(client, created_after=(now + timedelta(days=1)).isoformat()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("limit", value) for value in ("0", "101", "-1", "1.5", "ten", "", "²", "99999999999999999999")],
        ("status", "done"),
        ("created_after", "yesterday"),
        ("created_before", "99999999999999"),
        ("created_before", "9999999-01-01T00:00:00Z"),
        ("model", "m" * 201),
        ("app", ""),
        ("app", "a\0b"),
    ],
)
async def test_a_bad_value_is_refused_by_its_name(client: AsyncClient, name: str, value: str) -> None:
    response = await client.get(PATH, params={name: value})

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_value", name)
    assert not value or len(value) < 4 or value not in error["message"]


async def test_a_parameter_that_stands_twice_is_refused(client: AsyncClient) -> None:
    response = await client.get(f"{PATH}?status=failed&status=completed")

    assert (response.status_code, response.json()["error"]["param"]) == (400, "status")


async def test_a_list_needs_a_key(client: AsyncClient) -> None:
    response = await client.get(PATH, headers={"authorization": ""})

    assert (response.status_code, response.json()["error"]["code"]) == (401, "missing_api_key")


async def test_expired_images_are_gone_and_the_list_says_so(
    client: AsyncClient, account: Account, engine: AsyncEngine
) -> None:
    expired, kept = await draw(client), await draw(client)
    async with engine.begin() as tx:
        query = text("UPDATE images SET expires_at = now() WHERE generation_id = :id")
        await tx.execute(query, {"id": parse_public_id("gen", expired)})

    gone = await client.get(f"{PATH}/{expired}")
    first, second = (await client.get(PATH)).json()["data"]

    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "result_gone")
    assert gone.headers["x-should-retry"] == "false"
    assert (first["id"], first["error"], len(first["data"])) == (kept, None, 1)
    assert (second["id"], second["status"], second["charged_tokens"]) == (expired, "completed", 5_000)
    assert (second["data"], second["error"]["code"]) == ([], "result_gone")


async def test_a_purge_removes_what_was_drawn_and_keeps_what_was_paid(
    client: AsyncClient, account: Account, services: Services, engine: AsyncEngine
) -> None:
    made = await client.post(
        PATH, json={**SMALL, "prompt": "a secret hill", "user": "marguerite", "a mood": "blue", "n": 2}
    )
    named, links = made.json()["metadata"]["id"], [entry["url"] for entry in made.json()["data"]]
    generation_id = parse_public_id("gen", named)
    assert generation_id is not None
    prefix = f"{account.id.hex}/live/{generation_id.hex}/"
    assert len(await services.store.list(prefix)) == 2

    async with services.engine.begin() as tx:
        purged = await purging.mark(tx, account.id, "live", generation_id)
    # Killed here: what is left is given to nobody, and the next purge removes it.
    assert (await client.get(f"{PATH}/{named}")).json()["error"]["code"] == "result_gone"
    async with services.engine.begin() as tx:
        again = await purging.mark(tx, account.id, "live", generation_id)
    removed = await purge.remove_objects(services.store, again)

    assert (purged, removed) == (again, 2)
    assert await services.store.list(prefix) == []
    assert await purge.remove_objects(services.store, again) == 0
    assert [(await client.get(link)).status_code for link in links] == [410, 410]
    async with engine.connect() as connection:
        query = text("SELECT * FROM generations WHERE id = :id")
        row = (await connection.execute(query, {"id": generation_id})).one()
        query = text("SELECT count(*) FROM attempts WHERE generation_id = :id")
        attempts = (await connection.execute(query, {"id": generation_id})).scalar_one()
    assert row.request == {"model": "sandbox", "size": "256x256", "n": 2, "response_format": "url"}
    assert "secret" not in str(row)
    assert "marguerite" not in str(row)
    assert "mood" not in str(row)
    assert (row.charged_tokens, row.billed["count"]) == (10_000, 2)
    assert attempts >= 1


async def test_a_later_epoch_keeps_its_objects(
    account: Account, client: AsyncClient, services: Services
) -> None:
    """A purged generation that was lost may run again under its key while the purge still deletes."""
    generation_id = parse_public_id("gen", await draw(client))
    assert generation_id is not None
    (name,) = await services.store.list(f"{account.id.hex}/live/{generation_id.hex}/")
    later = name.replace("/1/0-", "/2/0-")
    await services.store.put(later, await services.store.get(name))

    async with services.engine.begin() as tx:
        purged = await purging.mark(tx, account.id, "live", generation_id)
    await purge.remove_objects(services.store, purged)

    assert await services.store.list(f"{account.id.hex}/live/{generation_id.hex}/") == [later]
