"""How a request that was made before is recognised, and what it is told: by a database, without a gateway."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from structlog.testing import capture_logs

from imagegate.domain import Asked, Image, Principal
from imagegate.errors import BillingUnavailable, Conflict, GenerationPending, ImagegateError, NotFound
from imagegate.generation.purge import GONE
from imagegate.generation.recall import find, fingerprint_of, retell, with_bytes
from imagegate.ids import new_id, public_id
from imagegate.journal.items import Claim, Existing
from imagegate.media.objects import object_name
from imagegate.services import Services
from tests.ledger import paying

OWNER = Principal(UUID(int=5), "live", UUID(int=6))
ASKED = Asked("images", idempotency_key="k")
PRINT = sha256(b"a request").digest()
PLACE = object_name(
    OWNER.account_id, "live", UUID(int=2), epoch=0, index=0, sha256=sha256(b"data").digest(), format="png"
)


@dataclass
class Shelf:
    """A store with one object, or none."""

    data: bytes | None
    wanted: list[str] = field(default_factory=list)

    async def get(self, name: str) -> bytes:
        self.wanted.append(name)
        if self.data is None:
            raise NotFound("There is no such object.")
        return self.data


class Here:
    """A pool that does its work at once."""

    async def run(self, job: Callable[..., Any], *args: Any) -> Any:
        return job(*args)


@dataclass
class Watch:
    """Knows already whether what is waited for has ended."""

    over: bool
    waits: list[tuple[Any, ...]] = field(default_factory=list)

    async def ended(self, *wait: Any) -> bool:
        self.waits.append(wait)
        return self.over


@dataclass
class Noted:
    """Counts, and a journal: both keep what they were told."""

    told: list[Any] = field(default_factory=list)

    def ended(self, *what: Any) -> None:
        self.told.append(what)

    async def claim(self, what: Claim) -> Existing:
        self.told.append(what)
        return Existing(UUID(int=9), "running", PRINT)


def gateway(**parts: Any) -> Services:
    """As much of one as is asked for."""
    return cast(Services, SimpleNamespace(**parts))


def test_equal_requests_have_equal_fingerprints_whatever_they_are_called() -> None:
    said = {"prompt": "a fox", "model": "m"}
    one = fingerprint_of(OWNER, Asked("images"), said)
    others = [
        fingerprint_of(replace(OWNER, account_id=UUID(int=7)), Asked("images"), said),
        fingerprint_of(replace(OWNER, env="test"), Asked("images"), said),
        fingerprint_of(OWNER, Asked("edits"), said),
        fingerprint_of(OWNER, Asked("images"), {**said, "prompt": "a hare"}),
        fingerprint_of(OWNER, Asked("images"), {"prompt": "m", "model": "a fox"}),
    ]

    assert len(one) == 32
    assert one == fingerprint_of(replace(OWNER, key_id=UUID(int=8)), ASKED, {"model": "m", "prompt": "a fox"})
    assert len({one, *others}) == 6


async def test_without_a_key_only_who_says_that_he_tries_again_is_looked_for() -> None:
    journal = Noted()

    new = await find(gateway(journal=journal), OWNER, Asked("images"), PRINT)
    again = await find(gateway(journal=journal), OWNER, Asked("images", retry=2), PRINT)

    assert (new, again) == (None, Existing(UUID(int=9), "running", PRINT))
    assert journal.told == [Claim(OWNER.account_id, "live", OWNER.key_id, PRINT, 2)]


async def test_a_key_cannot_be_looked_for_without_a_database() -> None:
    nowhere = create_async_engine("postgresql+asyncpg://nobody@/none?host=/nowhere")

    with pytest.raises(BillingUnavailable):
        await find(gateway(engine=nowhere), OWNER, ASKED, PRINT)

    await nowhere.dispose()


@pytest.fixture
async def made(engine: AsyncEngine) -> AsyncIterator[tuple[Principal, UUID]]:
    """A generation that was made and cost nothing, under the key `k`. It is gone after the test."""
    account = await paying.open_account(engine, live_tokens=5)
    async with engine.begin() as tx:
        key_id = await paying.make_key(tx, account.id)
        id_ = await paying.capture(tx, account.id, key_id, 0)
        named = "UPDATE generations SET idempotency_key = 'k', fingerprint = :fingerprint WHERE id = :id"
        await tx.execute(text(named), {"id": id_, "fingerprint": PRINT})
        images = "UPDATE images SET object = :object, expires_at = now() + interval '1 hour' WHERE generation_id = :id"
        await tx.execute(text(images), {"id": id_, "object": PLACE})
    yield Principal(account.id, "live", key_id), id_
    async with engine.begin() as tx:
        await tx.execute(text("DELETE FROM images WHERE generation_id = :id"), {"id": id_})
        await tx.execute(text("DELETE FROM generations WHERE id = :id"), {"id": id_})


async def becomes(engine: AsyncEngine, generation_id: UUID, **columns: object) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    async with engine.begin() as tx:
        await tx.execute(
            text(f"UPDATE generations SET {sets} WHERE id = :id"), {"id": generation_id, **columns}
        )


async def test_what_nobody_can_have_billed_is_forgotten_until_its_third_epoch(
    made: tuple[Principal, UUID], engine: AsyncEngine
) -> None:
    owner, id_ = made
    services = gateway(engine=engine)

    found = [await find(services, owner, ASKED, PRINT)]
    for outcome, epoch in (("lost", 1), ("lost", 2), ("lost", 3), ("final", 1)):
        await becomes(engine, id_, state="voided", outcome=outcome, epoch=epoch)
        found.append(await find(services, owner, ASKED, PRINT))

    ended = Existing(id_, "voided", PRINT)
    assert found == [Existing(id_, "captured", PRINT), None, None, ended, ended]


async def test_a_key_is_known_to_its_owner_alone(made: tuple[Principal, UUID], engine: AsyncEngine) -> None:
    owner, id_ = made
    services = gateway(engine=engine)

    for other in (replace(owner, account_id=new_id()), replace(owner, env="test")):
        assert await find(services, other, ASKED, PRINT) is None
    assert await find(services, owner, replace(ASKED, idempotency_key="other"), PRINT) is None
    with pytest.raises(Conflict) as reused:
        await find(services, owner, ASKED, sha256(b"another request").digest())
    await becomes(engine, id_, fingerprint=None)

    assert reused.value.code == "idempotency_key_reused"
    assert await find(services, owner, ASKED, PRINT) == Existing(id_, "captured", None)


async def test_what_was_made_is_told_with_its_bytes(
    made: tuple[Principal, UUID], engine: AsyncEngine
) -> None:
    owner, id_ = made
    watch, counts, shelf = Watch(over=True), Noted(), Shelf(b"data")
    status = SimpleNamespace(watch=watch, counts=counts)
    services = gateway(
        engine=engine, settings=SimpleNamespace(deadline_s=20), status=status, store=shelf, pool=Here()
    )

    with capture_logs() as lines:
        told = await retell(
            services, owner, replace(ASKED, request_id="req_1"), Existing(id_, "captured", PRINT)
        )

    assert (told.id, told.status, told.replayed) == (id_, "completed", True)
    assert [image.b64 for image in told.images] == [b"ZGF0YQ=="]
    assert (shelf.wanted, counts.told) == ([PLACE], [("replayed", "live")])
    assert watch.waits == [(engine, (owner.account_id, "live", id_), 20)]
    (line,) = lines
    assert (line["outcome"], line["status"], line["code"], line["images"]) == ("replayed", 200, None, 1)
    assert (line["id"], line["account"]) == (public_id("gen", id_), public_id("acc", owner.account_id))
    assert (line["model"], line["request_id"]) == ("imagegate/sandbox", "req_1")


async def test_what_failed_is_told_as_the_error_it_ended_in(
    made: tuple[Principal, UUID], engine: AsyncEngine
) -> None:
    owner, id_ = made
    await becomes(
        engine,
        id_,
        state="voided",
        outcome="final",
        answer_status=400,
        answer_code="c",
        answer_message="so it was",
    )
    counts = Noted()
    status = SimpleNamespace(watch=Watch(over=True), counts=counts)
    services = gateway(engine=engine, settings=SimpleNamespace(deadline_s=20), status=status)

    with capture_logs() as lines, pytest.raises(ImagegateError) as raised:
        await retell(services, owner, replace(ASKED, request_id="req_1"), Existing(id_, "voided", PRINT))

    error = raised.value
    assert (error.status, error.code, error.message) == (400, "c", "so it was")
    assert counts.told == [("replayed", "live")]
    (line,) = lines
    assert (line["outcome"], line["status"], line["code"], line["id"]) == (
        "replayed",
        400,
        "c",
        public_id("gen", id_),
    )
    assert (line["key"], line["request_id"]) == (public_id("key", owner.key_id), "req_1")


async def test_what_still_runs_is_waited_for_a_minute_at_most() -> None:
    watch, engine = Watch(over=False), object()
    services = gateway(
        engine=engine, settings=SimpleNamespace(deadline_s=300.0), status=SimpleNamespace(watch=watch)
    )
    known = Existing(UUID(int=9), "running", PRINT)

    with pytest.raises(Conflict) as with_key:
        await retell(services, OWNER, ASKED, known)
    with pytest.raises(GenerationPending) as without:
        await retell(services, OWNER, Asked("images"), known)

    name = public_id("gen", UUID(int=9))
    runs = f"{name} is still being made. Ask again shortly, or fetch it: GET /v1/images/generations/{name}"
    assert with_key.value.message == without.value.message == runs
    assert watch.waits == [(engine, (OWNER.account_id, "live", UUID(int=9)), 60.0)] * 2


async def test_bytes_that_are_gone_or_others_are_not_told() -> None:
    image = Image(PLACE, b"", 4, cast(Any, None), "image/png")

    whole = await with_bytes(gateway(store=Shelf(b"data"), pool=Here()), image)
    with capture_logs() as quiet, pytest.raises(Conflict) as gone:
        await with_bytes(gateway(store=Shelf(None), pool=Here()), image)
    with capture_logs() as lines, pytest.raises(Conflict) as harmed:
        await with_bytes(gateway(store=Shelf(b"Data"), pool=Here()), image)

    assert whole == replace(image, b64=b"ZGF0YQ==")
    for error in (gone.value, harmed.value):
        assert (error.message, error.code, error.status) == (GONE, "result_gone", 410)
    assert quiet == []
    assert lines == [{"event": "image_harmed", "object": PLACE, "log_level": "error"}]
