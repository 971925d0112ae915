"""Signed links: what was minted is valid until it expires, and nothing else is."""

from hashlib import sha256
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.errors import InvalidSignature
from imagegate.media.links import mint, verify
from imagegate.media.objects import object_name

KEY, OLD_KEY = b"k" * 32, b"o" * 32
NOW = 1_800_000_000
NAME = object_name(
    UUID(int=1), "live", UUID(int=2), epoch=0, index=0, sha256=sha256(b"").digest(), format="png"
)
BASE = "https://images.example.com"
PATH = mint([KEY], NAME, NOW + 60, BASE).removeprefix(BASE)


def refused(path: str, now: float = NOW) -> bool:
    try:
        verify([KEY], path, now)
    except InvalidSignature:
        return True
    return False


def test_a_link_leads_to_its_object() -> None:
    assert verify([KEY], PATH, NOW) == NAME
    assert mint([KEY], NAME, NOW + 60, BASE) == BASE + PATH


def test_a_link_is_valid_until_the_second_it_expires() -> None:
    assert not refused(PATH, NOW + 59.999)
    assert refused(PATH, NOW + 60)


@given(position=st.integers(0, len(PATH) - 1), character=st.characters())
def test_any_other_character_breaks_the_link(position: int, character: str) -> None:
    moved = PATH[:position] + character + PATH[position + 1 :]

    assert refused(moved) == (moved != PATH)


@given(position=st.integers(0, len(PATH)), text=st.text(min_size=1, max_size=4))
def test_any_further_character_breaks_the_link(position: int, text: str) -> None:
    assert refused(PATH[:position] + text + PATH[position:])


@given(position=st.integers(0, len(PATH) - 1), count=st.integers(1, 40))
def test_any_missing_character_breaks_the_link(position: int, count: int) -> None:
    assert refused(PATH[:position] + PATH[position + count :])


@given(st.text(max_size=300))
def test_other_text_is_no_link(text: str) -> None:
    assert refused(text)
    assert refused("/media/" + text)


@given(position=st.integers(0, len(PATH) - 1))
def test_percent_encoding_breaks_the_link(position: int) -> None:
    encoded = f"%{ord(PATH[position]):02X}"

    assert refused(PATH[:position] + encoded + PATH[position + 1 :])


@pytest.mark.parametrize(
    "moved",
    [
        PATH.replace(".png", ".gif"),
        PATH.replace("/live/", "/test/"),
        PATH.replace(str(NOW + 60), str(NOW + 61)),
        PATH.replace(str(NOW + 60), f"0{NOW + 60}"),
        PATH.replace(str(NOW + 60), f"{NOW + 60}"[:-1] + "\u0660"),
        PATH.replace("/media/", "//media/"),
        PATH.replace("/live/", "//live/"),
        PATH.replace("/live/", "/./live/"),
        PATH.replace("/live/", "/x/../live/"),
        PATH + "/",
        PATH + "\n",
        PATH + "?x=1",
        PATH + "=",
        quote(PATH, safe=""),
        BASE + PATH,
        PATH.upper(),
    ],
)
def test_a_link_that_was_moved_is_refused(moved: str) -> None:
    assert moved != PATH
    assert refused(moved)


def test_a_key_that_retires_still_verifies_and_signs_nothing() -> None:
    old = mint([OLD_KEY], NAME, NOW + 60, "")

    assert verify([KEY, OLD_KEY], old, NOW) == NAME
    assert mint([KEY, OLD_KEY], NAME, NOW + 60, "") == PATH
    with pytest.raises(InvalidSignature):
        verify([KEY], old, NOW)
    with pytest.raises(InvalidSignature):
        verify([], PATH, NOW)


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", NAME + "/", NAME.replace("png", "svg"), NAME.upper(), f"/{NAME}"]
)
def test_only_object_names_are_signed(name: str) -> None:
    with pytest.raises(ValueError, match="is not an object name"):
        mint([KEY], name, NOW + 60, BASE)


def test_every_object_has_a_signature_of_its_own() -> None:
    names = [NAME.replace("/0/0-", f"/{epoch}/{index}-") for epoch in range(5) for index in range(5)]

    signatures = {mint([KEY], name, NOW + 60, "").split("/")[3] for name in names}

    assert len(signatures) == 25
    assert all(len(signature) == 24 for signature in signatures)
