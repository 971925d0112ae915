"""A bucket that fails, hangs or is not there."""

import asyncio
from pathlib import Path

import pytest

from imagegate.errors import OperatorError, StorageUnavailable
from imagegate.ids import new_id
from imagegate.media.objects import ID_FILE, epoch_prefix
from imagegate.media.store_bucket import BucketStore, open_bucket
from tests.media.fake_s3 import FakeS3
from tests.media.names import ACCOUNT, name_of

NAME = name_of(b"x")


async def every_verb_is_unavailable(store: BucketStore) -> None:
    prefix = epoch_prefix(ACCOUNT, "live", new_id(), 0)
    for verb in (
        store.put(NAME, b"x"),
        store.get(NAME),
        store.open(NAME),
        store.exists(NAME),
        store.delete(NAME),
        store.list(prefix),
        store.identify(),
    ):
        with pytest.raises(StorageUnavailable):
            await verb


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_bucket_that_refuses_is_unavailable(s3: FakeS3, status: int) -> None:
    s3.broken = status

    await every_verb_is_unavailable(open_bucket("s3://images"))


async def test_a_bucket_that_fails_is_tried_again_and_then_unavailable(s3: FakeS3) -> None:
    s3.broken = 500

    with pytest.raises(StorageUnavailable):
        await open_bucket("s3://images").put(NAME, b"x")

    assert 2 <= s3.requests.count(f"PUT {NAME}") <= 5


async def test_a_bucket_that_does_not_exist_takes_no_images(s3: FakeS3) -> None:
    s3.broken = 404

    store = open_bucket("s3://images")

    with pytest.raises(StorageUnavailable):
        await store.put(NAME, b"x")
    with pytest.raises(StorageUnavailable):
        await store.identify()


async def test_a_bucket_that_hangs_is_unavailable_in_time(
    monkeypatch: pytest.MonkeyPatch, s3: FakeS3
) -> None:
    release = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    async with asyncio.timeout(10):
        await every_verb_is_unavailable(open_bucket("s3://images", timeout_s=0.2))

    release.set()
    server.close()
    await server.wait_closed()


async def test_a_bucket_behind_a_closed_port_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, s3: FakeS3
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(StorageUnavailable):
        await open_bucket("s3://images", timeout_s=1).put(NAME, b"x")


async def test_a_large_image_is_one_request_and_a_look_whether_it_was_kept(
    s3: FakeS3, tmp_path: Path
) -> None:
    data = bytes(12 * 1024 * 1024)

    await open_bucket("s3://images").put(NAME, data)

    assert s3.requests == [f"PUT {NAME}", f"HEAD {NAME}"]
    assert s3.objects[NAME] == data


async def test_a_damaged_id_file_is_the_operators_to_mend(s3: FakeS3) -> None:
    s3.objects[ID_FILE] = b"\xff not an id"

    with pytest.raises(OperatorError, match="damaged"):
        await open_bucket("s3://images").identify()


async def test_azure_without_an_account_is_refused() -> None:
    with pytest.raises(OperatorError, match="Account"):
        open_bucket("az://container/images")
