"""Lumenfall's API: its pages' examples at OpenAI's routes, and its native ones: balance, requests, purge."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx import AsyncClient
from PIL import Image
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.identity import keys
from imagegate.identity.keys import Labels
from imagegate.ids import parse_public_id, public_id
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, TEST_TOKENS, Account, open_account
from tests.media.pictures import encoded, picture

OPENAI = "/openai/v1/images/generations"
PATH = "/v1/requests"
SMALL = {"model": "sandbox", "size": "256x256", "response_format": "url"}


async def draw(client: AsyncClient, prompt: str = "a hill", **more: Any) -> str:
    response = await client.post(OPENAI, json={**SMALL, "prompt": prompt, **more})
    made: str = response.headers["x-imagegate-generation-id"]
    return made


async def ids(client: AsyncClient, **query: Any) -> list[str]:
    response = await client.get(PATH, params=query)
    assert response.status_code == 200, response.text
    return [request["id"] for request in response.json()["data"]]


async def test_the_page_s_example_is_answered_with_id_size_and_metadata(test_client: AsyncClient) -> None:
    said = {
        "model": "gemini-3-pro-image",
        "prompt": "A futuristic city skyline at sunset",
        "n": 1,
        "size": "1024x1024",
    }

    told = (await test_client.post(OPENAI, json=said)).json()

    metadata = told["metadata"]
    assert told["id"] == metadata["id"]
    assert (told["size"], told["output_format"]) == ("1024x1024", "png")
    assert metadata["model"] == "google/gemini-3-pro-image"
    assert {"executed_model", "provider", "attempts"} <= set(metadata)
    assert metadata["cost"] > 0
    assert metadata["cost_currency"] == metadata["currency"]
    assert isinstance(told["created"], int)
    assert (await test_client.get(told["data"][0]["url"])).status_code == 200


async def test_the_page_s_example_of_an_edit_is_a_form(test_client: AsyncClient) -> None:
    said = {"model": "gemini-3-pro-image", "prompt": "Add a red hat to the person", "size": "1024x1024"}
    files = {"image": ("original.png", encoded("png", picture("RGB", 1024, 1024)), "image/png")}

    response = await test_client.post("/openai/v1/images/edits", data=said, files=files)

    told = response.json()
    assert response.status_code == 200, told
    assert told["size"] == "1024x1024"
    assert told["metadata"]["cost_currency"]


async def test_the_page_s_example_of_an_estimate_tells_micros_and_components(
    test_client: AsyncClient, account: Account
) -> None:
    said = {"model": "gemini-3-pro-image", "prompt": "A test prompt", "size": "1024x1024"}

    told = (await test_client.post(f"{OPENAI}?dryRun=true", json=said)).json()

    assert told["estimated"] is True
    assert {"model", "provider", "total_cost_micros", "currency"} <= set(told)
    (component,) = told["components"]
    assert (component["type"], component["metric"], component["quantity"]) == ("output", "image", 1)
    assert round(component["total_cost"] * 10**6) == told["total_cost_micros"]
    assert await account.balance("test") == (TEST_TOKENS, 0)


@pytest.mark.parametrize("format_", ["png", "jpeg", "gif", "webp", "avif"])
async def test_every_format_of_the_page_comes_out(client: AsyncClient, format_: str) -> None:
    said = {**SMALL, "prompt": "a hill", "output_format": format_, "output_compression": 60}

    told = (await client.post(OPENAI, json=said)).json()

    drawn = Image.open(io.BytesIO((await client.get(told["data"][0]["url"])).content))
    assert (drawn.format, told["output_format"]) == (format_.upper(), format_)


@pytest.mark.parametrize("name", ["thinking", "thinking_level"])
async def test_thinking_goes_by_both_names_and_a_value_the_model_lacks_lists_those_it_has(
    client: AsyncClient, test_client: AsyncClient, name: str
) -> None:
    able = await test_client.post(f"{OPENAI}?dryRun=true", json={**SMALL, "prompt": "a hill", name: "high"})
    unable = await test_client.post(OPENAI, json={**SMALL, "prompt": "a hill", name: "ultra"})

    assert able.status_code == 200, able.text
    assert able.json()["parameters"]["thinking"]["treatment"] in ("passed", "converted", "renamed")
    error = unable.json()["error"]
    assert (unable.status_code, error["code"], error["param"]) == (400, "unsupported_value", "thinking")
    assert "high" in error["message"]


async def test_every_listed_model_tells_its_schema_when_asked(client: AsyncClient) -> None:
    plain = (await client.get("/openai/v1/models")).json()["data"]

    told = (await client.get("/openai/v1/models?schema=true")).json()["data"]

    assert [model["id"] for model in told] == [model["id"] for model in plain]
    assert all("parameters" not in model for model in plain)
    assert all({"prompt", "n", "size"} <= set(model["parameters"]) for model in told)
    one = (await client.get("/openai/v1/models/imagegate/sandbox?schema=true")).json()
    assert one in told


async def test_the_balance_is_that_of_the_key_s_wallet(client: AsyncClient, test_client: AsyncClient) -> None:
    live, test = [(await c.get("/v1/balance")).json() for c in (client, test_client)]

    assert live == {
        "object": "balance",
        "billing_type": "prepaid",
        "available": {"amount": 1.0, "currency": "usd", "tokens": LIVE_TOKENS},
    }
    assert test["available"]["tokens"] == TEST_TOKENS


async def test_a_request_is_listed_as_its_own_route_gives_it(client: AsyncClient, account: Account) -> None:
    made = await draw(client, user="mia")

    listed = (await client.get(PATH)).json()

    (told,) = listed["data"]
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert (listed["next_page_url"], listed["previous_page_url"]) == (None, None)
    assert "summary" not in listed
    assert told == (await client.get(f"{PATH}/{made}")).json()
    at = datetime.fromisoformat(told.pop("created_at"))
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert parse_public_id("key", told.pop("key_id"))
    assert told.pop("duration_ms") >= 0
    assert told.pop("response_size_bytes") > told.pop("request_size_bytes") > 50
    assert told == {
        "id": made,
        "object": "request",
        "model": "imagegate/sandbox",
        "modality": "image",
        "endpoint": "/openai/v1/images/generations",
        "status": "completed",
        "cost": 0.005,
        "currency": "usd",
        "error_code": None,
        "error_message": None,
        "session_id": None,
        "trace_id": None,
        "user": "mia",
        "charged_tokens": 5_000,
    }


async def test_pages_are_walked_by_their_own_addresses_forth_and_back(client: AsyncClient) -> None:
    made = [await draw(client) for _ in range(5)][::-1]

    pages = [(await client.get(PATH, params={"limit": 2, "status": "completed", "summary": "true"})).json()]
    while pages[-1]["next_page_url"]:
        pages.append((await client.get(pages[-1]["next_page_url"])).json())
    back = [(await client.get(pages[-1]["previous_page_url"])).json()]
    while back[-1]["previous_page_url"]:
        back.append((await client.get(back[-1]["previous_page_url"])).json())

    seen = [[request["id"] for request in page["data"]] for page in pages]
    assert seen == [made[:2], made[2:4], made[4:]]
    assert [[request["id"] for request in page["data"]] for page in back] == [made[2:4], made[:2]]
    assert back[0]["next_page_url"] == pages[1]["next_page_url"]
    assert [page["has_more"] for page in pages] == [True, True, False]
    told = parse_qs(urlsplit(pages[0]["next_page_url"]).query)
    assert told == {"starting_after": [made[1]], "limit": ["2"], "status": ["completed"], "summary": ["true"]}
    summaries = [page["summary"] for page in pages + back]
    assert summaries == [{"total_cost": 0.025, "total_requests": 5, "currency": "usd"}] * 5


async def test_filters_narrow_the_list_and_the_summary(
    client: AsyncClient, account: Account, services: Services, engine: AsyncEngine
) -> None:
    async with engine.begin() as tx:
        pepper = services.keyring.key_pepper
        key_id, secret = await keys.create_key(tx, pepper, account.id, "live", Labels(), None)
    first = await draw(client)
    headers = {"authorization": f"Bearer {secret}"}
    second = (await client.post(OPENAI, json={**SMALL, "prompt": "a"}, headers=headers)).json()["id"]
    for prompt in ("[[garbage]]", "[[refuse]]"):
        await client.post(OPENAI, json={**SMALL, "prompt": prompt})
    async with engine.begin() as tx:
        aged = text("UPDATE generations SET created_at = created_at - interval '30 minutes' WHERE id = :id")
        await tx.execute(aged, {"id": parse_public_id("gen", first)})
        exact = (
            await tx.execute(
                text("SELECT created_at FROM generations WHERE id = :id"),
                {"id": parse_public_id("gen", first)},
            )
        ).scalar_one()
    earlier = (datetime.now(UTC) - timedelta(minutes=15)).isoformat()

    assert await ids(client, key_id=public_id("key", key_id)) == [second]
    assert await ids(client, key_id="key_" + "0" * 32) == []
    assert await ids(client, status="completed") == [second, first]
    (failed,) = (await client.get(PATH, params={"status": "upstream_failure"})).json()["data"]
    (rejected,) = (await client.get(PATH, params={"status": "rejected"})).json()["data"]
    assert (failed["error_code"], rejected["error_code"]) == ("all_providers_failed", "moderation_blocked")
    assert failed["cost"] == 0
    assert failed["error_message"]
    for status in ("pending", "processing", "cancelled"):
        assert await ids(client, status=status) == []
    assert await ids(client, created_before=earlier) == [first]
    assert first not in await ids(client, created_after=earlier)
    assert await ids(client, created_before=exact.isoformat()) == [first], "the end counts too"
    told = (await client.get(PATH, params={"status": "completed", "limit": 1, "summary": "true"})).json()
    assert told["summary"] == {"total_cost": 0.01, "total_requests": 2, "currency": "usd"}


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ({"limit": "0"}, 400, "limit"),
        ({"limit": "101"}, 400, "limit"),
        ({"status": "failed"}, 400, "status"),
        ({"key_id": "mine"}, 400, "key_id"),
        ({"summary": "maybe"}, 400, "summary"),
        ({"created_after": "yesterday"}, 400, "created_after"),
        ({"created_before": "9999-12-31T23:59:59.999999Z"}, 200, None),
        ({"starting_after": "gen_" + "0" * 32}, 404, "starting_after"),
        ({"ending_before": "nonsense"}, 404, "ending_before"),
        ({"starting_after": "gen_1", "ending_before": "gen_2"}, 400, "ending_before"),
    ],
)
async def test_a_bad_value_is_refused_by_its_name(
    client: AsyncClient, query: dict[str, str], status: int, param: str | None
) -> None:
    response = await client.get(PATH, params=query)

    assert response.status_code == status, response.text
    assert response.json().get("error", {}).get("param") == param


async def test_a_purge_removes_the_payloads_and_leaves_the_entry(
    client: AsyncClient, account: Account, engine: AsyncEngine
) -> None:
    drawn = (await client.post(OPENAI, json={**SMALL, "prompt": "a secret", "n": 2, "user": "mia"})).json()
    named, link = drawn["id"], drawn["data"][0]["url"]

    first, again = [(await client.delete(f"{PATH}/{named}/payloads")).json() for _ in range(2)]

    assert first == {"id": named, "purged": True, "already_purged": False, "media_deleted": 2}
    assert again == {"id": named, "purged": True, "already_purged": True, "media_deleted": 0}
    assert (await client.get(link)).status_code == 410
    assert (await client.get(f"/v1/images/generations/{named}")).status_code == 410
    told = (await client.get(f"{PATH}/{named}")).json()
    assert (told["status"], told["charged_tokens"], told["user"]) == ("completed", 10_000, None)
    async with engine.connect() as connection:
        query = text("SELECT actor, account_id FROM audit_log WHERE target = :named")
        entries = (await connection.execute(query, {"named": named})).all()
    assert [(entry.actor, entry.account_id) for entry in entries] == [(told["key_id"], account.id)]


async def test_purges_at_once_are_one_purge(client: AsyncClient) -> None:
    named = await draw(client)

    answers = await asyncio.gather(*(client.delete(f"{PATH}/{named}/payloads") for _ in range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(answer.json()["already_purged"] for answer in answers) == [False, True, True, True]


async def test_what_is_others_or_of_the_other_environment_is_neither_shown_nor_purged(
    client: AsyncClient, test_client: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    stranger = await open_account(services, engine)
    named = await draw(client)
    foreign = {"authorization": f"Bearer {stranger.key}"}

    for who, headers in ((client, foreign), (test_client, {})):
        assert (await who.get(f"{PATH}/{named}", headers=headers)).status_code == 404
        refused = await who.delete(f"{PATH}/{named}/payloads", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
        assert (await who.get(PATH, headers=headers)).json()["data"] == []
    assert (await client.delete(f"{PATH}/nonsense/payloads")).status_code == 404
    assert (await client.get(f"/v1/images/generations/{named}")).status_code == 200


async def test_what_is_still_being_made_is_processing_and_not_purged(
    client: AsyncClient, engine: AsyncEngine, account: Account
) -> None:
    under_way = asyncio.create_task(client.post(OPENAI, json={**SMALL, "prompt": "[[slow:1.2]] a hill"}))
    while not (found := (await client.get(PATH, params={"status": "processing"})).json()["data"]):
        await asyncio.sleep(0.02)
    (told,) = found

    refused = await client.delete(f"{PATH}/{told['id']}/payloads")

    error = refused.json()["error"]
    assert (told["duration_ms"], told["cost"], told["status"]) == (None, 0, "processing")
    assert (refused.status_code, error["code"]) == (409, "generation_in_progress")
    assert (await under_way).status_code == 200
    assert (await client.delete(f"{PATH}/{told['id']}/payloads")).json()["media_deleted"] == 1


@pytest.mark.parametrize("path", ["/v1/balance", PATH, f"{PATH}/gen_1"])
async def test_without_a_valid_key_nothing_is_told(client: AsyncClient, path: str) -> None:
    wrong = {"authorization": "Bearer igk_live_wrong"}

    for method in ("GET", "DELETE") if path.endswith("gen_1") else ("GET",):
        address = f"{path}/payloads" if method == "DELETE" else path
        assert (await client.request(method, address, headers=wrong)).status_code == 401
