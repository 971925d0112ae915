"""The engines: what a URL may say of TLS."""

import pytest
from sqlalchemy import text
from tests.conftest import Urls

from imagegate.db.base import driver_url, open_engine
from imagegate.db.migrate import open_migration_engine
from imagegate.settings import Settings


def with_mode(url: str, mode: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}sslmode={mode}"


def test_libpq_s_word_for_tls_is_told_to_asyncpg_in_its_own() -> None:
    url = driver_url("postgresql://me:hush@db.example/imagegate?sslmode=verify-full&application_name=x")

    assert dict(url.query) == {"ssl": "verify-full", "application_name": "x"}
    assert dict(driver_url("postgresql://me@db.example/imagegate").query) == {}


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_a_url_with_a_word_for_tls_connects(mode: str, urls: Urls, settings: Settings) -> None:
    for opened in (
        open_engine(with_mode(urls.app, mode), settings),
        open_migration_engine(with_mode(urls.owner, mode)),
    ):
        async with opened.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        await opened.dispose()
