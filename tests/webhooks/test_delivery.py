"""Events on their way: to a receiver on loopback, from generations that were really made."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from imagegate.admin import webhooks
from imagegate.identity.audit import Actor
from imagegate.ids import new_id, parse_public_id, public_id
from imagegate.registry import seals_of
from imagegate.services import Services
from imagegate.webhooks import delivery, outbox
from imagegate.webhooks.delivery import Courier, choose, delay_after
from imagegate.webhooks.outbox import Event
from imagegate.worker import working
from tests.conftest import Account
from tests.fake_verbs import CloseAfterRequest, Hang, Raw, Request, Reset, Status, Verb
from tests.webhooks.conftest import PICTURE, Put, change, changed, deliver, row_of
from tests.webhooks.receiver import Endless, Receiver, SlowBody, SlowHead

US = Actor("cli:tests", "a test")


async def secret_of(services: Services, account: Account) -> str:
    async with services.engine.begin() as tx:
        shown = await webhooks.show_secret(tx, seals_of(services.keyring), account.name, US)
    return str(shown["secret"])


def verified(secret: str, request: Request) -> Any:
    """The body, checked by the reference implementation of Standard Webhooks."""
    return Webhook(secret).verify(request.raw, request.headers)


async def test_an_event_is_signed_and_holds_what_the_generation_s_route_gives(
    courier: Courier,
    receiver: Receiver,
    put: Put,
    generation: UUID,
    services: Services,
    account: Account,
    test_client: AsyncClient,
) -> None:
    event = await put(receiver.url + "/hook")

    await deliver(courier)

    (request,) = receiver.requests
    body = verified(await secret_of(services, account), request)
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["webhook-id"] == public_id("msg", event)
    assert request.headers["content-type"] == "application/json"
    assert "cookie" not in request.headers
    assert "authorization" not in request.headers
    assert body["type"] == "image.generation.completed"
    fetched = (await test_client.get(f"/v1/images/generations/{public_id('gen', generation)}")).json()
    link = body["data"]["data"][0].pop("url")
    fetched["data"][0].pop("url")
    assert body["data"] == fetched
    assert (await test_client.get(link)).status_code == 200
    row = await row_of(courier.engine, event)
    assert (row.state, row.tries, row.last_status, row.last_error) == ("delivered", 1, 204, None)


async def test_a_body_that_was_changed_on_its_way_is_not_verified(
    courier: Courier, receiver: Receiver, put: Put, services: Services, account: Account
) -> None:
    await put(receiver.url + "/hook")

    await deliver(courier)

    (request,) = receiver.requests
    tampered = replace(request, raw=request.raw.replace(b"completed", b"complete!"))
    with pytest.raises(WebhookVerificationError):
        verified(await secret_of(services, account), tampered)


@pytest.mark.parametrize(
    "fault", [Status(500), Status(404), CloseAfterRequest(), Reset(), Raw(b"SSH-2.0\r\n\r\n")]
)
async def test_what_was_not_taken_is_sent_again_under_the_same_id_within_20_seconds(
    fault: Verb, courier: Courier, receiver: Receiver, put: Put, services: Services, account: Account
) -> None:
    event = await put(receiver.then("/hook", fault))

    await deliver(courier)
    failed = await row_of(courier.engine, event)
    await deliver(courier)
    early = len(receiver.requests)
    await change(courier.engine, event, next_at="now()")
    await deliver(courier)

    assert (failed.state, failed.tries, early) == ("pending", 1, 1)
    assert failed.last_error
    assert 4 < failed.wait_s < 19
    secret = await secret_of(services, account)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert verified(secret, first)["type"] == verified(secret, second)["type"]
    assert (await row_of(courier.engine, event)).state == "delivered"


async def test_410_ends_it_at_once(courier: Courier, receiver: Receiver, put: Put) -> None:
    event = await put(receiver.then("/hook", Status(410)))

    await deliver(courier)

    row = await row_of(courier.engine, event)
    assert (row.state, row.last_status, row.last_error) == ("failed", 410, "answered 410")
    assert row.ended_at is not None


async def test_it_is_given_up_24_hours_after_it_happened(
    courier: Courier, receiver: Receiver, put: Put
) -> None:
    event = await put(receiver.then("/hook", Status(503), Status(503), Status(503)))
    began = await row_of(courier.engine, event)

    await change(courier.engine, event, tries="20")
    await deliver(courier)
    late = await row_of(courier.engine, event)
    await change(courier.engine, event, next_at="now()", gives_up_at="now() + interval '1 minute'")
    await deliver(courier)
    last = await row_of(courier.engine, event)
    await change(courier.engine, event, next_at="now()", gives_up_at="now()")
    await deliver(courier)

    assert (began.gives_up_at - began.created_at).total_seconds() == 86_400
    assert late.state == "pending"
    assert 21_000 < late.wait_s < 26_000
    assert 0 < last.wait_s <= 60
    ended = await row_of(courier.engine, event)
    assert (ended.state, ended.tries, ended.last_status) == ("failed", 23, 503)


def test_tries_come_ever_less_often() -> None:
    first = {round(delay_after(1), 3) for _ in range(50)}
    waits = [delay_after(tries) for tries in range(1, 12)]

    assert len(first) > 10
    assert 5 <= min(first) <= max(first) <= 6
    assert waits[:9] == sorted(waits[:9])
    assert 21_600 <= waits[-1] <= 21_600 * 1.2


@pytest.mark.parametrize("fault", [Hang(), SlowHead()])
async def test_who_gives_no_answer_is_left_in_time(
    fault: Verb, courier: Courier, receiver: Receiver, put: Put
) -> None:
    event = await put(receiver.then("/hook", fault))

    began = monotonic()
    await deliver(courier)

    assert monotonic() - began < 2
    row = await row_of(courier.engine, event)
    assert (row.state, row.last_status, row.last_error) == ("pending", None, "gave no answer within 0.5 s")


async def test_a_2xx_counts_though_its_body_never_ends(
    courier: Courier, receiver: Receiver, put: Put
) -> None:
    endless = Endless()
    flood, drip = await put(receiver.then("/flood", endless)), await put(receiver.then("/drip", SlowBody()))

    began = monotonic()
    await deliver(courier)

    assert monotonic() - began < 2
    assert (await row_of(courier.engine, flood)).state == "delivered"
    assert (await row_of(courier.engine, drip)).state == "delivered"
    async with asyncio.timeout(5):
        while not endless.ended:
            await asyncio.sleep(0.01)
    assert endless.sent_bytes < 16 * 1024 * 1024


async def test_a_redirect_is_not_followed(courier: Courier, receiver: Receiver, put: Put) -> None:
    onward = Status(307, b"", headers={"location": receiver.url + "/latest/meta-data"})
    event = await put(receiver.then("/hook", onward))

    await deliver(courier)

    assert [request.path for request in receiver.requests] == ["/hook"]
    row = await row_of(courier.engine, event)
    assert (row.state, row.last_status) == ("pending", 307)
    assert "redirects are not followed" in row.last_error


async def test_a_receiver_that_hangs_holds_up_no_other(
    courier: Courier, receiver: Receiver, put: Put
) -> None:
    async with Receiver() as hostile:
        slow = [await put(hostile.then("/hook", Hang())) for _ in range(30)]
        good = await put(receiver.url + "/hook")

        for _ in range(2):
            await delivery.deliver_due(courier)
        while not receiver.requests:
            await asyncio.sleep(0.01)
        hanging = len(hostile.requests)
        await delivery.stop(courier)

    assert hanging == delivery.MOST_OF_ONE_HOST
    assert (await row_of(courier.engine, good)).state == "delivered"
    tried = Counter([(await row_of(courier.engine, event)).tries for event in slow])
    assert tried == {1: 4, 0: 26}


def test_one_account_takes_up_at_most_half_of_what_a_process_delivers_at_once() -> None:
    ours, theirs = new_id(), new_id()
    due = [event_of(ours, f"h{number}") for number in range(20)] + [event_of(theirs, "other")]

    taken = choose(due, Counter(), Counter(), 8, 16)

    assert Counter(event.account_id for event in taken) == {ours: 8, theirs: 1}


def event_of(account_id: UUID, host: str) -> Event:
    id_ = new_id()
    return Event(account_id, "test", id_, id_, "x", f"https://{host}/", None, 1, host)  # type: ignore[arg-type]


async def test_two_replicas_deliver_each_event_once(courier: Courier, receiver: Receiver, put: Put) -> None:
    events = [await put(f"{receiver.url}/{number}") for number in range(20)]
    other = replace(courier, under_way={}, ended=[])

    await asyncio.gather(deliver(courier), deliver(other))

    assert sorted(r.path for r in receiver.requests) == sorted(f"/{number}" for number in range(20))
    assert {(await row_of(courier.engine, event)).state for event in events} == {"delivered"}


async def test_what_a_dead_process_had_claimed_is_sent_by_another(
    courier: Courier, receiver: Receiver, put: Put
) -> None:
    event = await put(receiver.url + "/hook")
    async with courier.engine.begin() as tx:
        claimed = await outbox.find_due(tx, (), (), 10)
        await outbox.lease(tx, claimed, 30)

    await deliver(courier)
    before = len(receiver.requests)
    await change(courier.engine, event, next_at="now()")
    await deliver(courier)

    assert before == 0
    assert len(receiver.requests) == 1
    assert (await row_of(courier.engine, event)).tries == 2


async def test_the_end_of_a_try_that_came_too_late_changes_nothing(
    courier: Courier, receiver: Receiver, put: Put
) -> None:
    event = await put(receiver.url + "/hook")
    async with courier.engine.begin() as tx:
        (claimed,) = await outbox.find_due(tx, (), (), 10)
        await outbox.lease(tx, [claimed], 0)
    await deliver(courier)

    async with courier.engine.begin() as tx:
        end = outbox.End(claimed, delivery.HookAnswer(None, "gave no answer"), 5)
        states = await outbox.finish(tx, [end])

    assert states == {}
    row = await row_of(courier.engine, event)
    assert (row.state, row.last_status) == ("delivered", 204)


async def test_an_event_goes_out_without_images_once_they_are_gone(
    courier: Courier, receiver: Receiver, put: Put, generation: UUID, engine: AsyncEngine
) -> None:
    await put(receiver.url + "/hook")
    async with engine.begin() as tx:
        expire = text("UPDATE images SET expires_at = now() WHERE generation_id = :id")
        await tx.execute(expire, {"id": generation})

    await deliver(courier)

    (request,) = receiver.requests
    data = json.loads(request.raw)["data"]
    assert (data["data"], data["error"]["code"]) == ([], "result_gone")
    assert b"/media/" not in request.raw


async def test_an_event_that_cannot_be_prepared_holds_up_no_other(
    courier: Courier, receiver: Receiver, put: Put, test_client: AsyncClient, engine: AsyncEngine
) -> None:
    made = await test_client.post("/v1/images/generations", json=PICTURE)
    spoilt = parse_public_id("gen", made.json()["metadata"]["id"])
    async with engine.begin() as tx:
        spoil = text("UPDATE images SET object = '../secret' WHERE generation_id = :id")
        await tx.execute(spoil, {"id": spoilt})
    bad, good = await put(receiver.url + "/bad", generation_id=spoilt), await put(receiver.url + "/good")

    with capture_logs() as logged:
        await deliver(courier)

    assert [line["event"] for line in logged] == ["webhook_bug"]
    assert [request.path for request in receiver.requests] == ["/good"]
    assert (await row_of(courier.engine, good)).state == "delivered"
    row = await row_of(courier.engine, bad)
    assert (row.state, row.last_error) == ("pending", "could not be prepared; see this gateway's log")


async def test_every_serving_process_delivers(
    courier: Courier, receiver: Receiver, put: Put, services: Services
) -> None:
    event = await put(receiver.url + "/hook")

    async with working(changed(services, webhook_allow_private=True)), asyncio.timeout(10):
        while (await row_of(courier.engine, event)).state != "delivered":
            await asyncio.sleep(0.05)

    assert len(receiver.requests) == 1


async def test_an_event_is_forgotten_a_month_after_its_end(
    courier: Courier, receiver: Receiver, put: Put, engine: AsyncEngine, account: Account
) -> None:
    events = [await put(receiver.url + "/hook") for _ in range(3)]
    await deliver(courier)
    await change(engine, events[0], ended_at="now() - interval '31 days'")
    await change(engine, events[1], ended_at="now() - interval '29 days'")

    await outbox.forget_ended(engine)

    async with engine.connect() as connection:
        left = text("SELECT id FROM webhook_outbox WHERE account_id = :id ORDER BY id")
        kept = list((await connection.execute(left, {"id": account.id})).scalars())
    assert kept == sorted(events[1:])
