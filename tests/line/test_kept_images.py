"""An image that was made is handed in again by its id: nothing is uploaded or fetched a second time."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.generation import purge
from imagegate.ids import parse_public_id
from imagegate.journal import purging
from imagegate.services import Services
from tests.conftest import Account, open_account

MAKE, EDIT = "/v1/images/generations", "/v1/images/edits"
SMALL: dict[str, Any] = {"prompt": "a hill", "model": "sandbox", "size": "256x256"}


async def made(client: AsyncClient, **more: Any) -> dict[str, Any]:
    response = await client.post(MAKE, json={**SMALL, **more})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_an_output_is_an_input_again(client: AsyncClient) -> None:
    first = await made(client, n=2)
    ids = [entry["image_id"] for entry in first["data"]]

    edits = [
        await client.post(EDIT, json={**SMALL, "images": [{"image_id": ids[1]}]}),
        await client.post(EDIT, json={**SMALL, "image": ids[1]}),
        await client.post(
            EDIT, files={name: (None, text) for name, text in {**SMALL, "image": ids[1]}.items()}
        ),
        await client.post(MAKE, json={**SMALL, "input_references": [{"image_id": i} for i in ids]}),
    ]

    assert [edit.status_code for edit in edits] == [200] * 4, [edit.text[:300] for edit in edits]
    same = [edit.json()["data"][0]["b64_json"] for edit in edits[:3]]
    assert len(set(same)) == 1
    assert same[0] != first["data"][1]["b64_json"]
    again = await client.get(f"{MAKE}/{first['metadata']['id']}")
    assert [entry["image_id"] for entry in again.json()["data"]] == ids


async def test_it_is_the_accounts_own_and_has_to_be_there(
    client: AsyncClient, test_client: AsyncClient, services: Services, engine: AsyncEngine, base_url: str
) -> None:
    named = (await made(client))["data"][0]["image_id"]
    stranger = await open_account(services, engine)
    headers = {"authorization": f"Bearer {stranger.key}"}

    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as other:
        foreign = await other.post(EDIT, json={**SMALL, "image": named})
    of_live = await test_client.post(EDIT, json={**SMALL, "image": named})
    beyond = await client.post(EDIT, json={**SMALL, "image": named[:-1] + "7"})
    no_id = await client.post(EDIT, json={**SMALL, "images": [{"image_id": "gen_1"}]})

    assert [foreign.status_code, of_live.status_code, beyond.status_code, no_id.status_code] == [
        404,
        404,
        404,
        400,
    ]
    assert no_id.json()["error"]["param"] == "images[0]"


async def test_what_was_purged_is_gone(client: AsyncClient, account: Account, services: Services) -> None:
    first = await made(client)
    generation_id = parse_public_id("gen", first["metadata"]["id"])
    assert generation_id is not None
    async with services.engine.begin() as tx:
        purged = await purging.mark(tx, account.id, "live", generation_id)
    await purge.remove_objects(services.store, purged)
    before = await account.balance()

    gone = await client.post(EDIT, json={**SMALL, "image": first["data"][0]["image_id"]})

    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "result_gone")
    assert await account.balance() == before


@pytest.mark.parametrize("key", ["one-edit"])
async def test_a_repetition_with_the_same_image_is_the_same_request(client: AsyncClient, key: str) -> None:
    named = (await made(client, n=2))["data"]
    headers = {"Idempotency-Key": key}

    first = await client.post(EDIT, json={**SMALL, "image": named[0]["image_id"]}, headers=headers)
    again = await client.post(EDIT, json={**SMALL, "image": named[0]["image_id"]}, headers=headers)
    other = await client.post(EDIT, json={**SMALL, "image": named[1]["image_id"]}, headers=headers)

    assert first.json()["metadata"]["id"] == again.json()["metadata"]["id"]
    assert other.status_code == 422
