"""Ranks and weights over HTTP, and what gateways make of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.admin.conftest import Issue

MODEL = "openai/gpt-image-2"
WHY = {"reason": "a test"}


@pytest.fixture(autouse=True)
async def nothing_preferred(services: Services, engine: AsyncEngine) -> AsyncIterator[None]:
    yield
    async with engine.begin() as tx:
        await tx.execute(text("DELETE FROM preferences"))
        await tx.execute(text("UPDATE versions SET n = n + 1 WHERE name = 'preferences'"))
    await taken_up(services, None)


async def taken_up(services: Services, rank: int | None) -> None:
    """Wait until the running gateway has this rank of OpenAI's offering."""
    async with asyncio.timeout(10):
        while True:
            known = services.catalogue.preferences.find(MODEL, "openai")
            if (known.rank if known else None) == rank:
                return
            await asyncio.sleep(0.02)


async def prefer(admin: AsyncClient, verb: str = "prefer", **body: Any) -> dict[str, Any]:
    response = await admin.post(f"/models/gpt-image-2/{verb}", json={**WHY, **body})
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


async def listed(admin: AsyncClient) -> list[tuple[Any, ...]]:
    data = (await admin.get("/models/preferences")).json()["data"]
    return [(known["model"], known["provider"], known["rank"], known["weight"]) for known in data]


async def test_a_preference_reaches_running_gateways_and_is_taken_back(
    admin: AsyncClient, services: Services
) -> None:
    made = await prefer(admin, provider="openai", rank=3)
    await taken_up(services, 3)
    more = await prefer(admin, provider="openai", weight=0)
    model = await prefer(admin, rank=1)
    both = await listed(admin)
    gone = await prefer(admin, "unprefer", provider="openai")
    await taken_up(services, None)

    assert (made["model"], made["provider"], made["rank"], made["weight"]) == (MODEL, "openai", 3, None)
    assert (more["rank"], more["weight"], model["provider"]) == (3, 0, None)
    assert both == [(MODEL, None, 1, None), (MODEL, "openai", 3, 0)]
    assert (gone["rank"], await listed(admin)) == (3, [(MODEL, None, 1, None)])


async def test_every_change_is_recorded_and_again_is_none(admin: AsyncClient) -> None:
    for _ in range(2):
        await prefer(admin, provider="openai", rank=3)
    await prefer(admin, "unprefer", provider="openai")

    params = {"actor": f"operator:{admin.headers['x-name']}"}
    entries = (await admin.get("/audit", params=params)).json()["data"]
    assert [(e["action"], e["target"], e["reason"]) for e in reversed(entries)] == [
        ("models.prefer", f"openai:{MODEL}", "a test"),
        ("models.unprefer", f"openai:{MODEL}", "a test"),
    ]
    assert entries[0]["detail"] == {"before": {"rank": 3, "weight": None}, "after": None}


@pytest.mark.parametrize(
    ("verb", "body", "status", "param"),
    [
        ("prefer", {}, 400, "rank"),
        ("prefer", {"rank": 0}, 400, "rank"),
        ("prefer", {"weight": 10_001}, 400, "weight"),
        ("prefer", {"rank": 1, "provider": "bfl"}, 400, "provider"),
        ("unprefer", {}, 404, None),
    ],
)
async def test_what_cannot_be_is_refused(
    admin: AsyncClient, verb: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    response = await admin.post(f"/models/gpt-image-2/{verb}", json={**WHY, **body})

    assert (response.status_code, response.json().get("param")) == (status, param)
    assert await listed(admin) == []


async def test_preferring_needs_the_scope_of_models(issue: Issue) -> None:
    reader = await issue("read")

    response = await reader.post("/models/gpt-image-2/prefer", json={**WHY, "rank": 1})

    assert response.status_code == 403
    assert await listed(reader) == []
