"""Pictures in JSON: put in after the rest is written, and exactly where the body has them."""

import json
import os
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from imagegate.domain import InputImage, ProviderCall
from imagegate.pool import WorkPool
from imagegate.providers.pictures import base64_of, data_url, write_json, written
from tests.providers.wire_cases import call_from

HOSTILE = 'a "fox" \\ \n \u2028 data:image/png;base64,AAAA"}'


@pytest.fixture
async def pool() -> AsyncIterator[WorkPool]:
    pool = WorkPool(threads=1)
    yield pool
    pool.close()


def body_of(call: ProviderCall) -> dict[str, Any]:
    """A picture twice, one never, the order turned round, and words of the caller's between them."""
    assert call.mask is not None
    return {
        "mask": {"deep": [base64_of(call.mask)]},
        "prompt": call.prompt,
        "images": [data_url(call.images[1]), data_url(call.images[0]), base64_of(call.images[0])],
        "fields": dict(call.fields),
    }


def test_a_body_is_the_same_json_as_if_it_were_written_at_once() -> None:
    pictures = ["png 8x8", "webp 9x9", "jpeg 7x7"]
    call = call_from({}, prompt=HOSTILE, images=pictures, mask="png 8x8", fields={"x": HOSTILE})

    assert json.loads(write_json(body_of, call)) == body_of(call)


def test_a_callers_words_never_stand_for_a_picture() -> None:
    call = call_from({}, images=["png 8x8", "png 8x8"], mask="png 8x8")
    call = replace(call, prompt=base64_of(call.images[0]))

    body = json.loads(write_json(body_of, call))

    assert body["prompt"] == call.prompt
    assert body == body_of(call)


async def test_a_call_without_pictures_is_left_to_be_written_as_it_is(pool: WorkPool) -> None:
    call = call_from({})

    assert await written(pool, lambda call: {"prompt": call.prompt}, call) == {"prompt": call.prompt}


async def test_megabytes_are_put_in_last_and_in_a_thread(pool: WorkPool) -> None:
    """What looks through a text for characters to escape lets no other thread run meanwhile."""
    call = replace(call_from({}), images=(InputImage(data=os.urandom(3_000_000), format="png"),))
    seen: list[tuple[int, int]] = []

    def write(call: ProviderCall) -> Mapping[str, Any]:
        url = data_url(call.images[0])
        seen.append((len(url), threading.get_ident()))
        return {"image": url}

    body = await written(pool, write, call)

    assert body == b'{"image":"%s"}' % data_url(call.images[0]).encode()
    [(length, thread)] = seen
    assert length < 100
    assert thread != threading.get_ident()
