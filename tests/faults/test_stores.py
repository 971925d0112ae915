"""Stores that are away, full, or lie: an image that was not kept is not paid for, and other bytes are never told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient, TransportError
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation import recovery
from imagegate.media.store_bucket import BucketStore, open_bucket
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.faults.proofs import PATH, nothing_is_amiss
from tests.line.test_polled import another_worker, ask, row_of
from tests.line.test_sweep import Silent
from tests.media.fake_s3 import FakeS3, serving

Serve = Callable[[Services], Awaitable[str]]
BODY = {"prompt": "a fox", "model": "dall-e-2", "size": "256x256"}
COST = 5_000


class Liar(FakeS3):
    """Says that it took every object. keeps: what it makes of the bytes; None: it keeps nothing."""

    keeps: Callable[[bytes], bytes | None] = staticmethod(lambda data: data)

    async def answer(self, request: Any) -> Any:
        answer = await super().answer(request)
        key = request.match_info.get("key", "")
        if request.method == "PUT" and key in self.objects:
            kept = self.keeps(self.objects.pop(key))
            if kept is not None:
                self.objects[key] = kept
        return answer


@pytest.fixture
async def liar(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Liar]:
    fake = Liar()
    async with serving(fake) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield fake


@pytest.fixture
def bucket(liar: Liar) -> BucketStore:
    return open_bucket("s3://images", timeout_s=1)


def caller(url: str, account: Account, **headers: str) -> AsyncClient:
    return AsyncClient(base_url=url, headers={"x-api-key": account.key, **headers}, timeout=30)


def away(liar: Liar) -> None:
    liar.broken = 500


def full(liar: Liar) -> None:
    liar.broken = 507


def keeps_nothing(liar: Liar) -> None:
    liar.keeps = lambda data: None


def keeps_half(liar: Liar) -> None:
    liar.keeps = lambda data: data[: len(data) // 2]


@pytest.mark.parametrize("fault", [away, full, keeps_nothing, keeps_half])
async def test_an_image_that_a_bucket_has_not_kept_is_not_paid_for(
    services: Services,
    account: Account,
    fake: FakeProvider,
    serve: Serve,
    liar: Liar,
    bucket: BucketStore,
    fault: Callable[[Liar], None],
) -> None:
    url = await serve(replace(services, store=bucket))
    async with caller(url, account) as http:
        fault(liar)
        during = await http.post(PATH, json=BODY)
        liar.broken, liar.keeps = None, lambda data: data
        after = await http.post(PATH, json=BODY)

    assert (during.status_code, during.json()["error"]["code"]) == (503, "storage_unavailable")
    assert during.headers["x-should-retry"] == "true"
    assert after.status_code == 200
    assert await account.balance() == (LIVE_TOKENS - COST, 0)
    await nothing_is_amiss(account.engine, url, [account], [during, after])


@pytest.mark.parametrize("size", ["256x256", "1024x1024"])
async def test_other_bytes_than_were_put_there_are_never_told(
    services: Services,
    account: Account,
    fake: FakeProvider,
    serve: Serve,
    liar: Liar,
    bucket: BucketStore,
    size: str,
) -> None:
    """As many bytes as before, and not those: nobody sees it before they are read."""
    url = await serve(replace(services, store=bucket))
    async with caller(url, account, **{"idempotency-key": "one"}) as http:
        made = await http.post(PATH, json={**BODY, "size": size})
        link = made.json()["data"][0]["url"]
        (name, sound) = next((n, d) for n, d in liar.objects.items() if account.id.hex in n)
        liar.objects[name] = bytes([sound[0] ^ 1]) + sound[1:]
        shown, replayed = await http.get(link), await http.post(PATH, json={**BODY, "size": size})
        again = {**BODY, "size": size, "image": made.json()["data"][0]["image_id"]}
        edited = await http.post("/v1/images/edits", json=again, headers={"idempotency-key": "two"})
        liar.objects[name] = sound
        well = await http.get(link)

    assert (shown.status_code, replayed.status_code) == (410, 410)
    assert {answer.json()["error"]["code"] for answer in (shown, replayed)} == {"result_gone"}
    assert (edited.status_code, edited.json()["error"]["code"]) == (404, "not_found")
    assert "other bytes" in edited.json()["error"]["message"]
    assert (well.status_code, well.content) == (200, sound)
    await nothing_is_amiss(account.engine, url, [account], [made, edited])


async def test_a_long_image_that_was_harmed_is_cut_off_and_never_whole(
    services: Services, account: Account, fake: FakeProvider, serve: Serve, liar: Liar, bucket: BucketStore
) -> None:
    """It is longer than what is read at once, so its first bytes are out before the last ones are seen."""
    url = await serve(replace(services, store=bucket))
    async with caller(url, account) as http:
        made = await http.post(PATH, json=BODY)
        link = made.json()["data"][0]["url"]
        name = next(name for name in liar.objects if account.id.hex in name)
        sound, liar.objects[name] = liar.objects[name], bytes(3 * 1024 * 1024)
        with pytest.raises(TransportError):
            await http.get(link)
        liar.objects[name] = sound

    await nothing_is_amiss(account.engine, url, [account], [made])


async def test_what_a_dead_worker_stored_in_a_store_that_lied_is_given_back(
    services: Services, account: Account, engine: AsyncEngine, serve: Serve, liar: Liar, bucket: BucketStore
) -> None:
    """The sweeper reads what it finds: bytes that are not what their name says are no image."""
    silent = Silent()
    async with another_worker(replace(services, store=bucket), silent) as dying:
        asking = asyncio.create_task(ask(account, await serve(dying)))
        async with asyncio.timeout(10):
            while not silent.asked:
                await asyncio.sleep(0.01)
    answer = await asking
    generation = (await row_of(engine, account)).id
    lie = f"{account.id.hex}/live/{generation.hex}/1/0-{'0' * 64}.png"
    liar.objects[lie] = b"\x89PNG\r\n\x1a\n and no more"

    await recovery.sweep(replace(services, store=bucket), recovery.Deaths(0))

    assert answer.status_code == 503
    assert await account.balance() == (LIVE_TOKENS, 0)
    await nothing_is_amiss(engine, await serve(services), [account], [answer])
