"""What has been kept long enough is removed: images from the store, prompts from the database. What was paid stays."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import accounts
from imagegate.errors import StorageUnavailable
from imagegate.generation import expiring, recovery
from imagegate.generation.purge import remove_objects
from imagegate.generation.recovery import Deaths
from imagegate.identity.audit import Actor
from imagegate.identity.keys import CACHE_S
from imagegate.ids import parse_public_id
from imagegate.journal import purging
from imagegate.media.objects import handed_in, object_name, quarantined, thumbnail_of, thumbnails
from imagegate.media.store import ImageStore
from imagegate.services import Services
from tests.conftest import Account, open_account
from tests.fake_verbs import picture
from tests.line.test_polled import (
    Serve,
    SlowProvider,
    another_worker,
    ask,
    die_after_it_is_accepted,
    until_state,
)
from tests.line.test_sweep import Silent

MAKE = "/v1/images/generations"
SAID = "a most private heron"
SMALL: dict[str, Any] = {"prompt": SAID, "model": "sandbox", "size": "256x256", "user": "u-7", "steps": 9}
BY = Actor("cli:tests", "a test")


@pytest.fixture(autouse=True)
async def nothing_due(services: Services) -> None:
    """What other tests have moved back in time is out of the way, so that a turn counts this test's alone."""
    await expiring.expire(services)


async def keep(engine: AsyncEngine, account: Account, **hours: int | None) -> None:
    async with engine.begin() as tx:
        await accounts.set_retention(tx, account.name, hours, BY)


async def age(engine: AsyncEngine, account: Account, hours: float) -> None:
    """All that the account has made was made so much earlier."""
    back = "- make_interval(secs => :hours * 3600)"
    moves = (
        f"UPDATE generations SET created_at = created_at {back}, settled_at = settled_at {back} WHERE account_id = :id",
        f"UPDATE images SET expires_at = expires_at {back} WHERE account_id = :id",
    )
    async with engine.begin() as tx:
        for move in moves:
            await tx.execute(text(move), {"id": account.id, "hours": hours})


async def rows(engine: AsyncEngine, account: Account, query: str) -> list[Any]:
    async with engine.connect() as connection:
        return list((await connection.execute(text(query), {"id": account.id})).all())


async def hours_left(engine: AsyncEngine, account: Account) -> int:
    """Of the account's one image."""
    query = "SELECT extract(epoch FROM expires_at - now()) / 3600 AS hours FROM images WHERE account_id = :id"
    (row,) = await rows(engine, account, query)
    return round(row.hours)


async def objects_of(services: Services, account: Account, generation: str, env: str = "live") -> list[str]:
    place = f"{account.id.hex}/{env}/{generation.removeprefix('gen_')}/"
    places = (place, quarantined(place), handed_in(place), thumbnails(place))
    return [name for prefix in places for name in await services.store.list(prefix)]


async def made(client: AsyncClient, **more: Any) -> dict[str, Any]:
    response = await client.post(MAKE, json={**SMALL, **more})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_images_go_from_the_store_when_their_time_is_over(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    old = await made(client, n=2)
    named = old["metadata"]["id"]
    before = await objects_of(services, account, named)
    await age(engine, account, 721)
    young = await made(client)

    done = await expiring.expire(services)

    assert (len(before), await objects_of(services, account, named)) == (2, [])
    assert (done.images, done.objects) == (1, 2)
    gone, link = await client.get(f"{MAKE}/{named}"), await client.get(old["data"][0]["url"])
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "result_gone")
    assert (link.status_code, link.json()["error"]["code"]) == (410, "result_gone")
    assert (await client.get(young["data"][0]["url"])).status_code == 200
    assert len(await rows(engine, account, "SELECT 1 FROM images WHERE account_id = :id")) == 3


async def test_an_account_keeps_them_for_as_long_as_it_says(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient, base_url: str
) -> None:
    await keep(engine, account, keep_images_h=48)
    other = await open_account(services, engine)
    await keep(engine, other, keep_images_h=2000)
    named = (await made(client))["metadata"]["id"]
    async with AsyncClient(
        base_url=base_url, headers={"authorization": f"Bearer {other.key}"}, timeout=30
    ) as http:
        kept = (await made(http))["metadata"]["id"]
        for each in (account, other):
            await age(engine, each, 47)
        early = await expiring.expire(services)
        for each in (account, other):
            await age(engine, each, 1000)
        late = await expiring.expire(services)

        assert (early.images, late.images) == (0, 1)
        assert await objects_of(services, account, named) == []
        assert len(await objects_of(services, other, kept)) == 1
        assert (await http.get(f"{MAKE}/{kept}")).status_code == 200


async def test_after_a_time_was_made_shorter_older_images_stay_and_younger_ones_go(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    long = [(await made(client))["metadata"]["id"] for _ in range(2)]
    await age(engine, account, 1)
    await keep(engine, account, keep_images_h=24)
    await asyncio.sleep(CACHE_S)
    short = [(await made(client))["metadata"]["id"] for _ in range(2)]
    early = await expiring.expire(services)
    await age(engine, account, 25)

    done, again = await expiring.expire(services), await expiring.expire(services)

    assert (early.images, done.images, again.images) == (0, 2, 0)
    assert [len(await objects_of(services, account, named)) for named in long + short] == [1, 1, 0, 0]
    assert (await client.get(f"{MAKE}/{long[0]}")).status_code == 200
    await age(engine, account, 720)
    assert (await expiring.expire(services)).objects == 2
    assert [await objects_of(services, account, named) for named in long] == [[], []]


async def test_the_prompt_goes_and_the_price_and_the_images_stay(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    await keep(engine, account, keep_prompts_h=24)
    first = await made(client)
    named, before = first["metadata"]["id"], await account.balance()
    await age(engine, account, 25)

    done = await expiring.expire(services)

    assert (done.prompts, done.images) == (1, 0)
    everything = [
        str(row[0])
        for table, own in (
            ("generations", "account_id"),
            ("images", "account_id"),
            ("attempts", "account_id"),
        )
        for row in await rows(engine, account, f"SELECT to_jsonb(t) FROM {table} AS t WHERE {own} = :id")
    ]
    assert len(everything) >= 3
    assert not [row for row in everything if SAID in row or "u-7" in row]
    told = (await client.get(f"{MAKE}/{named}")).json()
    assert (told["status"], told["size"], told["charged_tokens"]) == (
        "completed",
        "256x256",
        first["metadata"]["charged_tokens"],
    )
    assert (await client.get(told["data"][0]["url"])).status_code == 200
    assert await account.balance() == before


async def test_prompts_are_kept_until_their_time_is_over(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    await keep(engine, account, keep_prompts_h=100)
    await made(client)
    await age(engine, account, 99)

    done = await expiring.expire(services)

    ((request,),) = await rows(engine, account, "SELECT request FROM generations WHERE account_id = :id")
    assert (done.prompts, request["prompt"], request["user"]) == (0, SAID, "u-7")


async def test_what_is_still_being_made_is_not_passed_over(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    first = (await made(client))["metadata"]["id"]
    slow = asyncio.create_task(made(client, prompt="[[slow:1]] a heron"))
    async with asyncio.timeout(10):
        while not await rows(
            engine, account, "SELECT 1 FROM generations WHERE account_id = :id AND state = 'running'"
        ):
            await asyncio.sleep(0.01)
    last = (await made(client))["metadata"]["id"]
    await age(engine, account, 721)

    during = await expiring.expire(services)
    between = [len(await objects_of(services, account, named)) for named in (first, last)]
    middle = (await slow)["metadata"]["id"]
    after = await expiring.expire(services)
    await age(engine, account, 721)
    at_last = await expiring.expire(services)

    assert (during.prompts, during.images, between) == (1, 1, [0, 1])
    assert (after.prompts, after.images) == (2, 0)
    assert at_last.images == 2
    left = [await objects_of(services, account, named) for named in (middle, last)]
    assert left == [[], []]


async def test_what_failed_leaves_nothing_behind(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    failed = await client.post(MAKE, json={**SMALL, "prompt": "[[refuse]] a heron"})
    named = failed.headers.get("x-imagegate-generation-id") or "gen_" + str(
        (await rows(engine, account, "SELECT id FROM generations WHERE account_id = :id"))[0].id.hex
    )
    generation_id = parse_public_id("gen", named)
    assert generation_id is not None
    data = picture("256x256", "png")
    name = object_name(
        account.id,
        "live",
        generation_id,
        epoch=1,
        index=0,
        sha256=hashlib.sha256(data).digest(),
        format="png",
    )
    for place in (name, quarantined(name), handed_in(name), thumbnail_of(name)):
        await services.store.put(place, data)
    await age(engine, account, 719)
    early = await expiring.expire(services)
    await age(engine, account, 2)

    done = await expiring.expire(services)

    assert failed.status_code == 400
    assert (early.objects, done.objects) == (0, 4)
    assert await objects_of(services, account, named) == []
    fetched = await client.get(f"{MAKE}/{named}")
    assert (fetched.json()["status"], fetched.json()["error"]["code"]) == ("failed", "moderation_blocked")


class Counting:
    """A store that counts looks, and is down while it is told so."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self.down, self.looks = False, 0

    async def list(self, prefix: str) -> list[str]:
        if self.down:
            raise StorageUnavailable
        self.looks += 1
        return await self._store.list(prefix)

    async def delete(self, name: str) -> None:
        await self._store.delete(name)


async def test_a_store_that_is_down_is_asked_again_and_nothing_is_looked_at_twice(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    named = (await made(client))["metadata"]["id"]
    await age(engine, account, 721)
    store = Counting(services.store)
    watched = replace(services, store=store)  # type: ignore[arg-type]

    store.down = True
    with pytest.raises(StorageUnavailable):
        await expiring.expire(watched)
    (scrubbed,) = await rows(
        engine, account, "SELECT request ? 'prompt' AS said FROM generations WHERE account_id = :id"
    )
    held = await objects_of(services, account, named)
    store.down = False
    done = await expiring.expire(watched)
    looks = store.looks
    again = await expiring.expire(watched)

    assert (len(held), scrubbed.said) == (1, False)
    assert (done.images, again.images) == (1, 0)
    assert (looks, store.looks) == (4, 4)
    assert await objects_of(services, account, named) == []


async def test_two_processes_at_once_remove_everything(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    named = [(await made(client))["metadata"]["id"] for _ in range(7)]
    await age(engine, account, 721)

    ends = await asyncio.gather(*(expiring.expire(services) for _ in range(3)))

    assert sum(end.prompts for end in ends) == len(named)
    assert sum(end.objects for end in ends) >= len(named)
    assert [await objects_of(services, account, one) for one in named] == [[]] * len(named)
    marks = await rows(engine, account, "SELECT what, until FROM retention_marks WHERE account_id = :id")
    last = parse_public_id("gen", max(named))
    assert sorted((row.what, row.until) for row in marks) == [("images", last), ("prompts", last)]


async def test_a_purge_of_what_has_expired_is_no_error(
    services: Services, account: Account, engine: AsyncEngine, client: AsyncClient
) -> None:
    named = (await made(client))["metadata"]["id"]
    generation_id = parse_public_id("gen", named)
    assert generation_id is not None
    await age(engine, account, 721)
    await expiring.expire(services)

    removed = []
    for _ in range(2):
        async with services.engine.begin() as tx:
            purged = await purging.mark(tx, account.id, "live", generation_id)
        removed.append((purged.images, await remove_objects(services.store, purged)))

    assert removed == [(1, 0), (1, 0)]
    assert (await expiring.expire(services)).images == 0


async def test_images_that_a_sweeper_rescues_are_kept_as_the_account_says(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    await keep(engine, account, keep_images_h=48)
    slow, data = Silent(), picture("256x256", "png")
    async with another_worker(services, slow) as dying:
        asking = asyncio.create_task(ask(account, await serve(dying)))
        async with asyncio.timeout(10):
            while not slow.asked:
                await asyncio.sleep(0.01)
    await asyncio.gather(asking, return_exceptions=True)
    (row,) = await rows(engine, account, "SELECT id FROM generations WHERE account_id = :id")
    sha256 = hashlib.sha256(data).digest()
    name = object_name(account.id, "live", row.id, epoch=1, index=0, sha256=sha256, format="png")
    await services.store.put(name, data)

    await recovery.sweep(services, Deaths(0))
    await recovery.sweep(services, Deaths(0))

    assert await hours_left(engine, account) == 48


async def test_images_of_work_that_another_worker_goes_on_with_are_kept_as_the_account_says(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve
) -> None:
    await keep(engine, account, keep_images_h=48)
    slow = SlowProvider()
    await die_after_it_is_accepted(services, account, slow, serve)
    async with another_worker(services, slow) as heir:
        await recovery.sweep(heir, Deaths(0))
        slow.ready.set()
        await until_state(engine, account, "captured")

    assert await hours_left(engine, account) == 48
