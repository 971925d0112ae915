"""Gateways with moderators, for the tests of moderation through the public door."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.ids import parse_public_id
from imagegate.journal.tables import generations
from imagegate.moderation.panel import Panel, open_panel
from imagegate.services import Services
from tests.conftest import Account

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "gpt-image-2", "size": "1024x1024", "quality": "low"}
SANDBOX = {"prompt": "a fox", "model": "sandbox", "size": "256x256", "response_format": "url"}
Serve = Callable[[Services], Awaitable[str]]


def panel(services: Services, **settings: Any) -> Panel:
    """The moderators that these settings open."""
    secret = ("moderation_openai_key", "moderation_webhook_secret")
    values = {name: SecretStr(v) if name in secret else v for name, v in settings.items()}
    changed = services.settings.model_copy(update=values)
    return open_panel(changed, services.outbound, services.pool)


@dataclass(frozen=True)
class Gateway:
    """A gateway with moderators, and a client that speaks with the account's live key."""

    services: Services
    http: AsyncClient

    async def draw(self, **body: Any) -> Response:
        return await self.http.post(PATH, json=BODY | body)

    def counted(self, stage: str, verdict: str) -> int:
        return self.services.status.moderated[stage, verdict]


@asynccontextmanager
async def moderated(
    services: Services, account: Account, serve: Serve, **settings: Any
) -> AsyncIterator[Gateway]:
    made = replace(services, moderation=panel(services, **settings))
    headers = {"authorization": f"Bearer {account.key}"}
    async with AsyncClient(base_url=await serve(made), headers=headers, timeout=30) as http:
        yield Gateway(made, http)


async def row_of(engine: AsyncEngine, generation_id: str) -> Any:
    found: UUID | None = parse_public_id("gen", generation_id)
    async with engine.connect() as connection:
        return (await connection.execute(select(generations).where(generations.c.id == found))).one()


async def rows_of(engine: AsyncEngine, account: Account) -> list[Any]:
    async with engine.connect() as connection:
        query = select(generations).where(generations.c.account_id == account.id)
        return list((await connection.execute(query)).all())
