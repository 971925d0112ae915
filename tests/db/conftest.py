"""Folders for databases of their own, apart from the one the other tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.db.programs import open_folder

from imagegate.db.embedded import EmbeddedPostgres


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as opened:
        yield opened


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """The data directory of a database that is made and stopped; every test leaves it stopped."""
    with open_folder() as opened:
        with EmbeddedPostgres(opened / "data", lambda line: None):
            pass
        yield opened / "data"
