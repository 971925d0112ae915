"""Previews of OpenAI's wire: what is handed on as it comes, what is left out, and that long base64 is not copied."""

import json
from dataclasses import replace
from typing import Any

import pytest

from imagegate.domain import Preview, ProviderCall
from imagegate.outbound import Event
from imagegate.providers.openai_events import Listening, Speaker, parse
from tests.fake_events import completed_event, partial_event
from tests.providers.wire_cases import call_from

KIND = "image_generation"
SAID = {"size": "1536x1024", "output_format": "webp", "quality": "low"}


def partial(**said: Any) -> Event:
    return Event("", json.dumps(partial_event({}, KIND, 0) | said).encode())


async def heard(*events: Event, previews: int = 3) -> tuple[list[Preview], Listening]:
    """What a call is shown of these events."""
    shown: list[Preview] = []

    async def show(preview: Preview) -> None:
        shown.append(preview)

    call: ProviderCall = replace(call_from({}), previews=previews, preview=show)
    listening = Listening(call, Speaker("fake"))
    for event in events:
        if await listening.take(event):
            break
    return shown, listening


async def test_a_preview_is_passed_on_as_it_is() -> None:
    (preview,), _ = await heard(partial(partial_image_index=2, **SAID))

    assert (preview.index, preview.size) == (2, "1536x1024")
    assert (preview.quality, preview.background, preview.output_format) == ("low", "opaque", "webp")
    assert bytes(preview.b64).startswith(b"iVBOR")


async def test_words_that_may_not_be_shown_are_those_of_the_call() -> None:
    (preview,), _ = await heard(
        partial(size={"a": 1}, quality='"<', output_format=None, partial_image_index=-1)
    )

    assert (preview.index, preview.size, preview.quality) == (0, "1024x1024", "auto")
    assert preview.output_format == "png"


@pytest.mark.parametrize("b64", [None, "", "not base64", 'iVBO","x":"', "iVBOR\n", 7, "iVBOé"])
async def test_what_is_no_base64_is_no_preview(b64: Any) -> None:
    shown, _ = await heard(partial(b64_json=b64), partial())

    assert [preview.index for preview in shown] == [0]


async def test_no_more_are_shown_than_were_asked_for() -> None:
    shown, listening = await heard(*[partial()] * 5, previews=2)

    assert len(shown) == 2
    assert listening.completed is None


async def test_the_completed_event_is_the_last_one() -> None:
    done = Event(f"{KIND}.completed", json.dumps(completed_event({}, KIND, 0)).encode())

    shown, listening = await heard(done, partial())

    assert shown == []
    assert listening.completed is not None
    assert listening.completed["usage"]["output_tokens"] == 1756


def test_long_base64_is_a_view_into_the_event() -> None:
    said = parse(json.dumps({"type": "x", "b64_json": "iVBO" * 50_000, "size": "1x1"}).encode())

    assert isinstance(said["b64_json"], memoryview)
    assert said["size"] == "1x1"


@pytest.mark.parametrize(
    "said",
    [
        {"b64_json": "a\\/b"},
        {"inner": {"b64_json": "aaaa"}, "b64_json": "bbbb"},
        {"b64_json": None},
        ["b64_json"],
        {"b64_json": ["aaaa"]},
    ],
)
def test_an_event_of_another_form_is_read_all_the_same(said: Any) -> None:
    assert parse(json.dumps(said).encode()) == said
