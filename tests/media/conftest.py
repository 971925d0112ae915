"""A local folder, obstore's memory and a small S3 server: three stores that must behave as one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from imagegate.media.store import ImageStore
from imagegate.media.store_bucket import BucketStore, open_bucket
from imagegate.media.store_local import LocalStore
from tests.media.fake_s3 import FakeS3, serving


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeS3]:
    fake = FakeS3()
    async with serving(fake) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield fake


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalStore]:
    store = LocalStore(tmp_path / "images")
    yield store
    await store.close()


@pytest.fixture(params=["local", "memory", "s3"])
async def store(request: pytest.FixtureRequest, local: LocalStore, s3: FakeS3) -> ImageStore:
    stores: dict[str, ImageStore] = {
        "local": local,
        "memory": BucketStore(MemoryStore()),
        "s3": open_bucket("s3://images"),
    }
    return stores[request.param]
