from httpx import AsyncClient

from imagegate.admin.audit import EntryFilter, page_entries
from imagegate.services import Services
from tests.admin.console.conftest import Seat
from tests.conftest import Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Images, Status
from tests.line.routes import rest

PATH = "/console/providers/openai"
PICTURE = {"model": "openai:gpt-image-1-mini", "prompt": "a river", "size": "1024x1024", "quality": "low"}


async def test_a_provider_s_last_hours_come_from_its_attempts(
    reader: Seat, account: Account, client: AsyncClient, admin: AsyncClient, fake: FakeProvider
) -> None:
    before = (await reader.get(f"{PATH}/hours.json")).json()["data"]
    assert (await client.post("/v1/images/generations", json=PICTURE)).status_code == 200

    hours = (await reader.get(f"{PATH}/hours.json")).json()["data"]
    page = (await reader.get(PATH)).text
    every = (await reader.get("/console/providers")).text
    told = (await admin.get("/providers/hours", params={"provider": "openai"})).json()

    assert hours == told["data"]
    assert told["sampled"] is False
    delivered = sum(row["classes"].get("DELIVERED", 0) for row in hours)
    assert delivered == sum(row["classes"].get("DELIVERED", 0) for row in before) + 1
    assert hours[0]["p50_s"] <= hours[0]["p95_s"]
    assert "data-chart=" in page
    assert "DELIVERED" in page
    assert "attempts in 24 hours" in every
    assert (await admin.get("/providers/hours", params={"hours": "0"})).status_code == 400


async def test_what_went_wrong_is_counted_and_a_breaker_is_tried_now(
    writer: Seat, account: Account, client: AsyncClient, fake: FakeProvider, services: Services
) -> None:
    fake.default = Status(500)
    await client.post("/v1/images/generations", json=PICTURE)
    fake.default = Images()
    (record,) = [record for record in services.health if record.provider == "openai"]
    rest(services, record)
    resting = [seen for seen in services.health.snapshot() if seen.provider == "openai"]
    page = (await writer.get(PATH)).text

    tried = await writer.post(f"{PATH}/try-now", offering=resting[0].offering, reason="it is back")
    (after,) = [s for s in services.health.snapshot() if s.offering == resting[0].offering]
    drawn = await client.post("/v1/images/generations", json=PICTURE)
    (closed,) = [s for s in services.health.snapshot() if s.offering == resting[0].offering]

    assert resting[0].state == "open"
    assert "Try now" in page
    assert "REFUSED_UNBILLED" in page
    assert (tried.status_code, after.state) == (303, "half_open")
    assert (drawn.status_code, closed.state) == (200, "closed")
    async with services.engine.connect() as connection:
        (entry, *_) = await page_entries(connection, EntryFilter(action="providers.try_now"), None, 1)
    assert (entry.target, entry.reason, entry.detail) == (
        "openai",
        "it is back",
        {"offerings": [resting[0].offering]},
    )


async def test_nothing_is_recorded_where_nothing_rests(
    writer: Seat, admin: AsyncClient, services: Services
) -> None:
    answer = await admin.post("/providers/recraft/try-now", json={"reason": "curious"})
    missing = await writer.post("/console/providers/nobody/try-now")

    assert (answer.status_code, answer.json()["tried"]) == (200, [])
    assert missing.status_code == 404
    async with services.engine.connect() as connection:
        found = await page_entries(connection, EntryFilter(action="providers.try_now"), None, 50)
    assert "recraft" not in {entry.target for entry in found}


async def test_weights_are_shown_with_their_share_and_changed(
    writer: Seat, reader: Seat, services: Services
) -> None:
    model = next(
        known.id
        for known in services.catalogue.models.values()
        if {"openai", "sandbox"} & {o.provider for o in known.offerings} and len(known.offerings) > 1
    )
    sold_by = services.catalogue.models[model].offerings[0].provider
    path = f"/console/models/{model}"

    changed = await writer.post(f"{path}/prefer", provider=sold_by, weight="7", rank="2", reason="better")
    rows = (await reader.get(f"{path}/weights.json")).json()["data"]
    at_provider = (await reader.get(f"/console/providers/{sold_by}/weights.json")).json()["data"]
    page = (await reader.get(path)).text
    back = await writer.post(f"/console/providers/{sold_by}/prefer", model=model, do="back")
    after = (await reader.get(f"{path}/weights.json")).json()["data"]

    (mine,) = [row for row in rows if row["provider"] == sold_by]
    assert changed.status_code == 303
    assert (mine["rank"], mine["weight"], mine["preferred"]["reason"]) == (2, 7, "better")
    assert [row for row in at_provider if row["model"] == model] == [mine]
    assert "better" in page
    assert back.status_code == 303
    assert [row["preferred"] for row in after] == [None] * len(after)
    shares = [row["share"] for row in rows if row["asked"]]
    assert not shares or abs(sum(shares) - 1) < 0.01
