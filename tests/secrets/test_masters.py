"""Which master secrets refuse the start, and that every key derived from one is its own."""

import hmac
import re
import secrets
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import SecretStr

from imagegate.errors import OperatorError
from imagegate.identity.masters import checked, is_guessable, load_masters, new_master, own_masters
from imagegate.identity.secret import Keyring, Keys
from imagegate.settings import Settings

ROOT = Path(__file__).parents[2]
GOOD = "kXv7Qw2ZpLm9RtY4uNc8BsH3fGj6DaEoViW1xK5y"
OTHER = "P8nq3JzVwT6eYkR1mXbL9cUaGh4SfDo7CiN2vZ5M"
READ = ("docs", "deploy", "README.md", ".env.example", "docker-compose.yml", "CONTRIBUTING.md", "SECURITY.md")


def settings(tmp_path: Path, secret: str | None, previous: str | None = None) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=SecretStr("postgresql://a@127.0.0.1/b"),
        secret=SecretStr(secret) if secret is not None else None,
        secret_previous=SecretStr(previous) if previous is not None else None,
    )


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (None, "is needed"),
        ("tiny", "shorter than 32"),
        (GOOD[:31], "shorter than 32"),
        ("a" * 40, "can be guessed"),
        ("ab" * 20, "can be guessed"),
        ("kXv7Qw2Z" * 5, "can be guessed"),
        ("aaaabbbbccccddddeeeeffffgggghhhhiiiijjjj", "can be guessed"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", "can be guessed"),
        ("zyxwvutsrqponmlkjihgfedcba9876543210", "can be guessed"),
        ("ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUV", "can be guessed"),
        ("00000000-0000-0000-0000-000000000000", "can be guessed"),
        ("please-CHANGE-me-8f2k1x9d7s6a5q4w3e2r1", "can be guessed"),
        (f"my-Secret-{GOOD}", "can be guessed"),
        (f"{GOOD[:20]}password{GOOD[20:]}", "can be guessed"),
    ],
)
def test_a_secret_that_is_missing_short_or_guessable_refuses_the_start(
    tmp_path: Path, secret: str | None, why: str
) -> None:
    with pytest.raises(OperatorError, match=why) as raised:
        load_masters(settings(tmp_path, secret))

    assert "imagegate secret new" in raised.value.message
    assert secret is None or secret not in raised.value.message


def test_the_previous_secret_is_looked_at_as_closely(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="IMAGEGATE_SECRET_PREVIOUS can be guessed"):
        load_masters(settings(tmp_path, GOOD, "ab" * 20))
    with pytest.raises(OperatorError, match="the same as IMAGEGATE_SECRET"):
        load_masters(settings(tmp_path, GOOD, GOOD))
    with pytest.raises(OperatorError, match="without IMAGEGATE_SECRET"):
        load_masters(settings(tmp_path, None, GOOD))

    assert load_masters(settings(tmp_path, GOOD, OTHER)) == (GOOD.encode(), OTHER.encode())


def test_what_random_sources_give_is_accepted() -> None:
    for make in (
        lambda: secrets.token_hex(32),
        lambda: secrets.token_urlsafe(32),
        lambda: secrets.token_hex(256),
    ):
        refused = sum(is_guessable(make().encode()) for _ in range(500))
        assert refused <= 2  # a word may stand in one by chance

    assert not any(is_guessable(new_master().encode()) for _ in range(500))
    assert len(new_master()) == 64


def test_nothing_that_our_own_pages_give_as_an_example_is_accepted() -> None:
    """Else it would be the secret of whoever copies it."""
    shown = re.compile(r"IMAGEGATE_SECRET(?:_PREVIOUS)?['\"]?\s*[=:]\s*['\"]?([^\s'\"`$#]+)")
    pages = [
        page
        for name in READ
        for page in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
    ]
    found = {
        value
        for page in pages
        if page.is_file() and page.suffix in (".md", ".yaml", ".yml", ".example", ".txt", ".sh", "")
        for value in shown.findall(page.read_text(errors="ignore"))
    }

    for value in found:
        with pytest.raises(OperatorError):
            checked("IMAGEGATE_SECRET", value.encode())


def test_every_use_has_a_key_of_its_own_that_tells_nothing_of_the_master() -> None:
    keys, same, other = Keys.derive(GOOD.encode()), Keys.derive(GOOD.encode()), Keys.derive(OTHER.encode())
    values = [getattr(keys, field.name) for field in fields(Keys)]

    assert keys == same
    assert len({value if isinstance(value, bytes) else bytes.fromhex(value) for value in values}) == 5
    assert all(len(value) == 32 for value in values)
    assert not set(values) & {getattr(other, field.name) for field in fields(Keys)}
    assert repr(keys) == f"Keys(fingerprint='{keys.fingerprint}')"


def test_derived_keys_never_change_from_version_to_version() -> None:
    """Others would make every key, link and sealed secret out there worthless. HKDF by hand, RFC 5869 with no salt."""
    keys = Keys.derive(GOOD.encode())

    extracted = hmac.digest(bytes(32), GOOD.encode(), "sha256")
    expected = [
        hmac.digest(extracted, f"imagegate {label} 1".encode() + b"\x01", "sha256")
        for label in ("api key pepper", "media links", "sealing", "console")
    ]
    assert [keys.key_pepper, keys.links, keys.sealing, keys.console] == expected


def test_an_own_secret_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    first, again = own_masters(path), own_masters(path)

    assert first == again
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]
    path.write_bytes(b"\n")
    with pytest.raises(OperatorError, match="is empty"):
        own_masters(path)


def test_the_older_secret_is_in_force_until_the_database_says_otherwise() -> None:
    new, old = Keys.derive(GOOD.encode()), Keys.derive(OTHER.encode())
    ring = Keyring.derive(GOOD.encode(), OTHER.encode())

    before = (ring.key_pepper, ring.peppers, ring.sealing, ring.link_keys, ring.console_keys)
    ring.turn(new.fingerprint)

    assert before == (
        old.key_pepper,
        (old.key_pepper, new.key_pepper),
        (old.sealing, new.sealing),
        (old.links, new.links),
        (old.console, new.console),
    )
    assert (ring.fingerprint, ring.links, ring.console) == (new.fingerprint, new.links, new.console)
    assert (ring.peppers, ring.sealing) == ((new.key_pepper, old.key_pepper), (new.sealing, old.sealing))
    with pytest.raises(OperatorError, match="another IMAGEGATE_SECRET"):
        ring.turn("0" * 32)
