"""The master secret changes while gateways run: nobody's key, link, session or sealed secret stops working."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import master
from imagegate.db.base import open_engine
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.errors import Conflict, OperatorError
from imagegate.identity import console, keys, operators, provider_keys
from imagegate.identity.audit import Actor
from imagegate.identity.secret import Keyring, turn_to_force
from imagegate.ledger import wallets
from imagegate.media import links
from imagegate.registry import seals_of
from imagegate.services import Services, open_services
from imagegate.settings import Settings
from imagegate.webhooks import secrets as webhook_secrets
from tests.conftest import Urls, listening

OLD = "P8nq3JzVwT6eYkR1mXbL9cUaGh4SfDo7CiN2vZ5M"
NEW = "kXv7Qw2ZpLm9RtY4uNc8BsH3fGj6DaEoViW1xK5y"
BY = Actor("cli:tests", "a test")
PICTURE = f"{'0' * 31}1/live/{'0' * 31}2/0/0-{'a' * 64}.png"
LONGEST_S = 20


@dataclass(frozen=True)
class Place:
    """A database of its own."""

    urls: Urls
    settings: Settings
    engine: AsyncEngine

    def knowing(self, secret: str, previous: str | None = None) -> Settings:
        kept = {"secret": SecretStr(secret), "secret_previous": SecretStr(previous) if previous else None}
        return self.settings.model_copy(update=kept)

    async def one(self, query: str) -> object:
        async with self.engine.connect() as connection:
            return (await connection.execute(text(query))).scalar_one()

    async def rotate(self, *, force: bool = False) -> int:
        keyring = Keyring.derive(NEW.encode(), OLD.encode())
        async with self.engine.begin() as tx:
            return await master.rotate(tx, keyring, BY, force=force)


@pytest.fixture
async def place(postgres: EmbeddedPostgres, tmp_path: Path, settings: Settings) -> AsyncIterator[Place]:
    owner, app = postgres.create_database(f"secrets_{tmp_path.name[-24:]}".lower().replace("-", "_"))
    upgrade(owner, lambda line: None)
    update = {"database_url": SecretStr(app), "data_dir": tmp_path / "data", "providers": {}}
    own = settings.model_copy(update=update)
    engine = open_engine(owner, own)
    yield Place(Urls(app, owner), own, engine)
    await engine.dispose()


@dataclass(frozen=True)
class Made:
    """What was made while the old secret was in force."""

    account: UUID
    key: str
    unused: str
    operator: str
    link: str
    cookie: str
    webhook: str


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[tuple[Services, AsyncClient]]:
    async with (
        open_services(settings) as services,
        listening(services) as url,
        AsyncClient(base_url=url) as http,
    ):
        yield services, http


async def make_all(services: Services, engine: AsyncEngine) -> Made:
    ring = services.keyring
    async with engine.begin() as tx:
        account = await keys.create_account(tx, "shop")
        await wallets.create_wallets(tx, account)
        made = [
            await keys.create_key(tx, ring.key_pepper, account, "live", keys.Labels(), None) for _ in range(2)
        ]
        _, operator = await operators.create_operator(tx, ring.key_pepper, "boss", ["read"], None, "tests")
        await provider_keys.add(tx, ring.sealing, "recraft", "first", "sk-of-recraft-0123", "tests")
        webhook, _ = await webhook_secrets.get_secret(tx, seals_of(ring), account)
    link = links.mint([ring.links], PICTURE, int(time.time()) + 600, "")
    cookie = console.write(ring.console, console.new_session("read", "console:tests"))
    return Made(account, made[0][1], made[1][1], operator, link, cookie, webhook)


async def open_doors(http: AsyncClient, made: Made) -> list[int]:
    """A caller's key, an operator's key, a link (its picture was never there: 410, a bad one is 403), a session."""
    told = [
        await http.get("/v1/models", headers={"authorization": f"Bearer {made.key}"}),
        await http.get("/admin/v1/accounts", headers={"authorization": f"Bearer {made.operator}"}),
        await http.get(made.link),
        await http.get("/console/overview", headers={"cookie": f"imagegate_console={made.cookie}"}),
    ]
    return [answer.status_code for answer in told]


async def sealed(services: Services, made: Made) -> tuple[str, str]:
    async with services.engine.begin() as tx:
        (stored,) = await provider_keys.load(tx, services.keyring.sealing)
        webhook, _ = await webhook_secrets.get_secret(tx, seals_of(services.keyring), made.account)
    assert stored.secret is not None, stored.fault
    return stored.secret.get_secret_value(), webhook


async def turned(services: Services) -> None:
    async with asyncio.timeout(LONGEST_S):
        while services.keyring.fingerprint != services.keyring.fingerprints[0]:
            await asyncio.sleep(0.02)


ALL_OPEN = [200, 200, 410, 200]


async def test_everything_goes_on_working_while_replicas_learn_the_new_secret_one_after_the_other(
    place: Place,
) -> None:
    async with AsyncExitStack() as stack:
        first = AsyncExitStack()
        alone, http = await first.enter_async_context(gateway(place.knowing(OLD)))
        made = await make_all(alone, place.engine)
        assert await open_doors(http, made) == ALL_OPEN

        # One knows both by now: what it makes, the other must understand.
        both, beside = await stack.enter_async_context(gateway(place.knowing(NEW, OLD)))
        assert await open_doors(beside, made) == ALL_OPEN
        later = links.mint([both.keyring.links], PICTURE, int(time.time()) + 600, "")
        assert (await http.get(later)).status_code == 410
        with pytest.raises(Conflict, match="1 running gateways do not know the new secret"):
            await place.rotate()
        assert await open_doors(http, made) == await open_doors(beside, made) == ALL_OPEN

        # Now the other one too; the lease of its life before is over when it has stopped.
        await first.aclose()
        await expire(place, alone)
        second, http = await stack.enter_async_context(gateway(place.knowing(NEW, OLD)))
        assert await place.rotate() == 2
        assert await open_doors(http, made) == ALL_OPEN  # whether it has noticed or not
        await asyncio.gather(turned(both), turned(second))
        newest = links.mint([both.keyring.links], PICTURE, int(time.time()) + 600, "")

        assert await open_doors(http, made) == await open_doors(beside, made) == ALL_OPEN
        assert (await http.get(newest)).status_code == 410
        assert await sealed(second, made) == ("sk-of-recraft-0123", made.webhook)
        assert await place.rotate() == 0
        assert await place.one("SELECT count(*) FROM audit_log WHERE action = 'secret.rotate'") == 1
    await without_the_old(place, made)


async def without_the_old(place: Place, made: Made) -> None:
    """A roll-out later the old secret is forgotten: what was used meanwhile has moved, and nothing else works."""
    with pytest.raises(OperatorError, match="another IMAGEGATE_SECRET"):
        async with open_services(place.knowing(OLD)):
            pass
    async with gateway(place.knowing(NEW)) as (services, http):
        async with place.engine.connect() as connection:
            standing = await master.look(connection, services.keyring)
        unused = await http.get("/v1/models", headers={"authorization": f"Bearer {made.unused}"})

        assert await open_doors(http, made) == [200, 200, 403, 303]
        assert await sealed(services, made) == ("sk-of-recraft-0123", made.webhook)
        assert unused.status_code == 401
        assert (standing.old_callers, standing.old_operators, standing.sealed_before) == (1, 0, 0)
        assert not standing.done


async def expire(place: Place, services: Services) -> None:
    async with place.engine.begin() as tx:
        query = text("UPDATE workers SET lease_until = now() WHERE id = :id")
        await tx.execute(query, {"id": services.journal.worker_id})


async def test_a_change_that_is_killed_in_the_middle_has_not_happened_and_can_be_made_again(
    place: Place,
) -> None:
    async with gateway(place.knowing(OLD)) as (services, _):
        made = await make_all(services, place.engine)
    await expire(place, services)
    before = await rows(place)

    async with (
        place.engine.connect() as other
    ):  # the change gets as far as the webhooks' secrets, and waits there
        await other.execute(text("SELECT 1 FROM webhook_secrets FOR UPDATE"))
        changing = change(place)
        await until_waiting(place, changing)
        changing.kill()
        changing.communicate(timeout=LONGEST_S)
        await other.rollback()
    after = await rows(place)
    again = change(place)
    out, err = await asyncio.to_thread(again.communicate, timeout=LONGEST_S)

    assert after == before
    assert (again.returncode, err) == (0, b""), out
    async with gateway(place.knowing(NEW, OLD)) as (services, http):
        assert services.keyring.fingerprint == Keyring.derive(NEW.encode()).fingerprint
        assert await open_doors(http, made) == ALL_OPEN
        assert await sealed(services, made) == ("sk-of-recraft-0123", made.webhook)


async def rows(place: Place) -> list[object]:
    tables = (
        "instance",
        "provider_keys",
        "webhook_secrets",
        "api_keys",
        "operator_keys",
        "audit_log",
        "versions",
    )
    return [
        await place.one(f"SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {name} t")
        for name in tables
    ]


def change(place: Place) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEGATE_")}
    said = {
        "IMAGEGATE_DATABASE_URL": place.urls.app,
        "IMAGEGATE_SECRET": NEW,
        "IMAGEGATE_SECRET_PREVIOUS": OLD,
        "IMAGEGATE_DATA_DIR": str(place.settings.data_dir),
        "IMAGEGATE_DATABASE_TIMEOUT_S": "20",
    }
    command = [sys.executable, "-m", "imagegate", "secret", "rotate", "--reason", "a leak", "--json"]
    return subprocess.Popen(
        command, env=kept | said, cwd=place.settings.data_dir.parent, stdout=-1, stderr=-1
    )


async def until_waiting(place: Place, process: subprocess.Popen[bytes]) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(LONGEST_S):
        while not await place.one(query):
            assert process.poll() is None, process.communicate()
            await asyncio.sleep(0.02)


async def test_what_was_sealed_in_the_moment_of_the_change_is_sealed_anew_by_the_next_look(
    place: Place,
) -> None:
    """A gateway that has not noticed yet seals under the old secret."""
    async with gateway(place.knowing(OLD)) as (services, _):
        await make_all(services, place.engine)
    await expire(place, services)
    late = Keyring.derive(OLD.encode())

    first = await place.rotate()
    async with place.engine.begin() as tx:
        await provider_keys.add(tx, late.sealing, "bfl", "late", "sk-of-bfl-0123456", "tests")
        ring = Keyring.derive(NEW.encode(), OLD.encode())
        await turn_to_force(tx, ring)
        before = await master.look(tx, ring)
    again = await place.rotate()

    async with place.engine.connect() as connection:
        stored = await provider_keys.load(connection, Keyring.derive(NEW.encode()).sealing)
    assert (first, before.sealed_before, again) == (2, 1, 1)
    assert [key.fault for key in stored] == [None, None]
