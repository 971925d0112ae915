"""Sealed bytes open in their own row and column alone, and not at all once a bit of them has changed."""

from uuid import UUID

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from imagegate.identity import provider_keys
from imagegate.identity.sealing import HEAD_BYTES, NONCE_BYTES, CannotOpen, is_sealed_with, seal, unseal
from imagegate.webhooks import secrets as webhook_secrets

KEY, OLD, OTHER = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))
PLAIN = "sk-live-0123456789"
ROW = b"provider_keys.sealed row 1"


def opens(keys: tuple[bytes, ...], sealed: bytes, belongs_to: bytes = ROW) -> bool:
    try:
        unseal(keys, sealed, belongs_to)
    except CannotOpen:
        return False
    return True


def test_no_flipped_bit_and_no_missing_byte_goes_unnoticed() -> None:
    sealed = seal((KEY,), PLAIN, ROW)

    flipped = [
        opens((KEY,), sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :])
        for at in range(len(sealed))
        for bit in range(8)
    ]
    cut = [opens((KEY,), sealed[:length]) for length in range(len(sealed))]
    bound = [opens((KEY,), sealed, ROW[:at] + bytes([ROW[at] ^ 1]) + ROW[at + 1 :]) for at in range(len(ROW))]

    assert not any(
        [*flipped, *cut, *bound, opens((KEY,), sealed + b"\0"), opens((KEY,), sealed, ROW + b"\0")]
    )
    assert unseal((KEY,), sealed, ROW) == PLAIN


@given(junk=st.binary(max_size=120))
@settings(max_examples=200, deadline=None, phases=(Phase.explicit, Phase.generate))
def test_nothing_that_was_not_sealed_opens(junk: bytes) -> None:
    head = seal((KEY,), "", ROW)[:HEAD_BYTES]

    assert not opens((KEY,), junk)
    assert not opens((KEY,), head + junk)


def test_the_first_key_seals_and_each_opens_what_is_its_own() -> None:
    sealed, before = seal((KEY, OLD), PLAIN, ROW), seal((OLD,), PLAIN, ROW)

    assert is_sealed_with(KEY, sealed)
    assert not is_sealed_with(OLD, sealed)
    assert unseal((KEY, OLD), before, ROW) == unseal((OLD, KEY), sealed, ROW) == PLAIN
    assert not opens((OLD,), sealed)
    assert not opens((OTHER,), sealed)
    with pytest.raises(CannotOpen, match="another IMAGEGATE_SECRET"):
        unseal((OTHER, OLD), sealed, ROW)


def test_what_is_in_no_known_form_is_told_from_what_is_damaged() -> None:
    sealed = seal((KEY,), PLAIN, ROW)

    for broken in (b"", b"\x01", b"\x02" + sealed[1:], sealed[:20]):
        with pytest.raises(CannotOpen, match=r"^is not sealed in a form this version knows$"):
            unseal((KEY,), broken, ROW)


def test_what_an_earlier_version_has_sealed_still_opens() -> None:
    sealed = bytes.fromhex(
        "01101c2b5c1c105fccaaec3ee9b0d26d5fab98d4c3f43f2cc42692e8c075b16b4b"
        "18c5a4dc74c93c9b3344cdd600cf59802d8f2946e4b7"
    )

    assert unseal((OTHER, KEY), sealed, ROW) == PLAIN


def test_no_nonce_comes_twice_and_none_is_short() -> None:
    nonces = {seal((KEY,), PLAIN, ROW)[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES] for _ in range(1000)}

    assert len(nonces) == 1000
    assert {len(nonce) for nonce in nonces} == {12}


def test_a_place_names_its_column_its_row_and_its_provider() -> None:
    one, two = UUID(int=1), UUID(int=2)
    places = {
        provider_keys.bound(one, "bfl"),
        provider_keys.bound(two, "bfl"),
        provider_keys.bound(one, "fal"),
        webhook_secrets.bound(one, two),
        webhook_secrets.bound(two, one),
        webhook_secrets.bound(one, one),
    }

    assert len(places) == 6
