"""Webhooks over the admin API: secrets, places, events and once more."""

from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.ids import public_id
from imagegate.services import Services
from tests.admin.conftest import BASE, Issue
from tests.conftest import Account
from tests.fake_verbs import Status
from tests.webhooks.conftest import Put, change, changed, courier, deliver, generation, put, receiver, row_of
from tests.webhooks.receiver import Receiver

__all__ = ["courier", "generation", "put", "receiver"]

WHY = {"reason": "a test"}


@pytest.fixture
async def secret_keeper(issue: Issue) -> AsyncClient:
    return await issue("read", "keys:write")


async def audited(admin: AsyncClient, account: Account) -> list[dict[str, Any]]:
    response = await admin.get("/audit", params={"account": account.name})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


async def test_a_secret_is_shown_only_to_a_key_that_may_write_keys(
    issue: Issue, secret_keeper: AsyncClient, account: Account
) -> None:
    reader = await issue("read")
    body = {"account": account.name, **WHY}

    refused = await reader.post("/webhooks/secret", json=body)
    made = await secret_keeper.post("/webhooks/secret", json=body)
    again = await secret_keeper.post("/webhooks/secret", json=body)

    assert refused.status_code == 403
    assert "whsec_" not in refused.text
    assert made.status_code == 200
    assert made.json() == again.json()
    assert made.json()["secret"].startswith("whsec_")


async def test_a_rotation_gives_a_new_secret_and_is_audited_without_it(
    secret_keeper: AsyncClient, account: Account
) -> None:
    old = (await secret_keeper.post("/webhooks/secret", json={"account": account.name, **WHY})).json()

    made = await secret_keeper.post("/webhooks/secret/rotate", json={"account": account.name, **WHY})
    shown = await secret_keeper.post("/webhooks/secret", json={"account": account.name, **WHY})

    assert made.json()["secret"] == shown.json()["secret"] != old["secret"]
    assert made.json()["keep_old_h"] == 24
    entries = await audited(secret_keeper, account)
    actions = ["webhooks.show_secret", "webhooks.rotate_secret", "webhooks.make_secret"]
    assert [entry["action"] for entry in entries] == actions
    assert "whsec_" not in str(entries)
    assert made.json()["secret"].removeprefix("whsec_") not in str(entries)


async def test_an_endpoint_is_set_shown_and_unset(secret_keeper: AsyncClient, account: Account) -> None:
    url = "https://hooks.example.com/imagegate"
    place = {"account": account.name, "env": "live", **WHY}

    made = await secret_keeper.post("/webhooks/endpoints", json={**place, "url": url})
    again = await secret_keeper.post("/webhooks/endpoints", json={**place, "url": url})
    shown = await secret_keeper.get("/webhooks/endpoints", params={"account": account.name})
    gone = await secret_keeper.post("/webhooks/endpoints", json={**place, "url": None})

    assert made.json() == again.json() == {"account": account.name, "env": "live", "url": url}
    assert [found["url"] for found in shown.json()["data"]] == [url, None]
    assert gone.json()["url"] is None
    entries = await audited(secret_keeper, account)
    assert [entry["action"] for entry in entries] == ["webhooks.unset", "webhooks.set"]
    assert entries[1]["detail"] == {"env": "live", "before": None, "after": url}


async def test_a_private_endpoint_is_refused(secret_keeper: AsyncClient, account: Account) -> None:
    body = {"account": account.name, "env": "live", "url": "https://169.254.169.254/", **WHY}

    refused = await secret_keeper.post("/webhooks/endpoints", json=body)

    assert refused.status_code == 400
    assert refused.json()["code"] == "webhook_url_not_allowed"
    shown = await secret_keeper.get("/webhooks/endpoints", params={"account": account.name})
    assert [found["url"] for found in shown.json()["data"]] == [None, None]


async def test_events_are_listed_by_state_newest_first_page_by_page(
    secret_keeper: AsyncClient, account: Account, courier: Any, receiver: Receiver, put: Put, generation: UUID
) -> None:
    failed = await put(receiver.then("/gone", Status(410)))
    delivered = await put(receiver.url + "/hook")
    await deliver(courier)
    pending = await put("https://hooks.example.com/")
    mine = {"account": account.name}

    listed = (await secret_keeper.get("/webhooks", params=mine)).json()["data"]
    first = (await secret_keeper.get("/webhooks", params={**mine, "limit": "2"})).json()
    rest = (await secret_keeper.get("/webhooks", params={**mine, "after": first["next"]})).json()
    failures = (await secret_keeper.get("/webhooks", params={**mine, "state": "failed"})).json()["data"]
    live = (await secret_keeper.get("/webhooks", params={**mine, "env": "live"})).json()["data"]

    assert [event["id"] for event in listed] == [public_id("msg", e) for e in (pending, delivered, failed)]
    assert first["data"] + rest["data"] == listed
    assert [event["id"] for event in failures] == [public_id("msg", failed)]
    assert live == []
    (event,) = failures
    assert (event["tries"], event["last_status"], event["last_error"]) == (1, 410, "answered 410")
    assert event["generation"] == public_id("gen", generation)
    assert listed[0]["next_at"] is not None


async def test_an_event_that_was_delivered_goes_out_once_more_under_its_id(
    secret_keeper: AsyncClient, account: Account, courier: Any, receiver: Receiver, put: Put
) -> None:
    event = await put(receiver.url + "/hook")
    await deliver(courier)

    again = await secret_keeper.post(f"/webhooks/{public_id('msg', event)}/redeliver", json=WHY)
    await deliver(courier)

    assert (again.status_code, again.json()["state"]) == (200, "pending")
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == public_id("msg", event)
    assert (await audited(secret_keeper, account))[0]["action"] == "webhooks.redeliver"


async def test_a_generation_s_failed_events_get_another_24_hours(
    secret_keeper: AsyncClient,
    courier: Any,
    receiver: Receiver,
    put: Put,
    generation: UUID,
    engine: AsyncEngine,
) -> None:
    event = await put(receiver.then("/hook", Status(410), Status(500)))
    await deliver(courier)
    await change(
        engine, event, created_at="now() - interval '3 days'", gives_up_at="now() - interval '2 days'"
    )

    body = {"generation": public_id("gen", generation), **WHY}
    again = await secret_keeper.post("/webhooks/redeliver", json=body)
    await deliver(courier)

    assert [found["id"] for found in again.json()["data"]] == [public_id("msg", event)]
    row = await row_of(engine, event)
    assert (row.state, row.tries, row.last_status) == ("pending", 1, 500)
    assert 4 < row.wait_s < 19


@pytest.mark.parametrize("path", ["/webhooks/msg_0/redeliver", "/webhooks/msg_" + "0" * 32 + "/redeliver"])
async def test_an_event_that_is_none_is_not_found(path: str, secret_keeper: AsyncClient) -> None:
    assert (await secret_keeper.post(path, json=WHY)).status_code == 404


async def test_a_test_event_is_sent_at_once_and_its_end_is_told(
    services: Services, account: Account, receiver: Receiver, admin: AsyncClient, serve: Any
) -> None:
    base_url = await serve(changed(services, webhook_allow_private=True))
    place = {"account": account.name, "env": "test"}
    async with AsyncClient(base_url=base_url + BASE, headers=admin.headers) as http:
        without = await http.post("/webhooks/test", json=place)
        url = receiver.then("/hook", Status(200, b""), Status(500))
        await http.post("/webhooks/endpoints", json={**place, "url": url, **WHY})
        taken = (await http.post("/webhooks/test", json=place)).json()
        refused = (await http.post("/webhooks/test", json=place)).json()

    assert (without.status_code, without.json()["code"]) == (409, "webhook_url_missing")
    assert (taken["delivered"], taken["status"], taken["error"]) == (True, 200, None)
    assert (refused["delivered"], refused["status"], refused["error"]) == (False, 500, "answered 500")
    first, second = receiver.requests
    assert first.body["type"] == "test.ping"
    assert first.headers["webhook-id"] == taken["id"] != second.headers["webhook-id"]
