"""The one master secret and the keys derived from it, each under a label of its own (HKDF-SHA-256, RFC 5869)."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import OperatorError
from imagegate.identity.tables import instance
from imagegate.settings import Settings

LEAST_BYTES = 32
HINT = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys of 32 bytes. None of them can be turned back into the master or into another."""

    key_pepper: bytes = field(repr=False)
    links: bytes = field(repr=False)
    sealing: bytes = field(repr=False)
    console: bytes = field(repr=False)
    fingerprint: str

    @classmethod
    def derive(cls, master: bytes) -> "Keyring":
        return cls(
            key_pepper=_derive(master, "imagegate api key pepper 1"),
            links=_derive(master, "imagegate media links 1"),
            sealing=_derive(master, "imagegate sealing 1"),
            console=_derive(master, "imagegate console 1"),
            fingerprint=_derive(master, "imagegate fingerprint 1").hex()[:32],
        )


def _derive(master: bytes, label: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=label.encode()).derive(master)


def load_master(settings: Settings) -> bytes:
    """IMAGEGATE_SECRET, or in embedded mode a secret made once in the data directory (mode 0600).

    Raises OperatorError when it is missing, shorter than 32 bytes or guessable.
    """
    if settings.secret is not None:
        return _checked(settings.secret.get_secret_value().encode())
    if not settings.embedded:
        raise OperatorError(f"IMAGEGATE_SECRET is needed together with IMAGEGATE_DATABASE_URL. {HINT}")
    return _own_secret(settings.data_dir / "secret")


def _checked(master: bytes) -> bytes:
    if len(master) < LEAST_BYTES:
        raise OperatorError(f"IMAGEGATE_SECRET is shorter than {LEAST_BYTES} bytes. {HINT}")
    well_known = (b"change", b"secret", b"password", b"example", b"imagegate")
    if len(set(master)) < 10 or any(word in master.lower() for word in well_known):
        raise OperatorError(f"IMAGEGATE_SECRET can be guessed. {HINT}")
    return master


def _own_secret(path: Path) -> bytes:
    """Read the file, or make it whole: written aside, synced, then linked, so that two first starts agree."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_bytes().strip()


async def check_fingerprint(tx: AsyncConnection, keyring: Keyring) -> None:
    """The database knows which secret its keys were hashed with. Raises OperatorError for another one."""
    query = text(
        "INSERT INTO instance (name, value) VALUES ('secret_fingerprint', :value) ON CONFLICT DO NOTHING"
    )
    await tx.execute(query, {"value": keyring.fingerprint})
    known = (
        await tx.execute(select(instance.c.value).where(instance.c.name == "secret_fingerprint"))
    ).scalar_one()
    if not hmac.compare_digest(known, keyring.fingerprint):
        raise OperatorError(
            "This database was set up with another IMAGEGATE_SECRET: its API keys and links would all be refused. "
            "Start with the secret it was set up with."
        )


def digest(pepper: bytes, key: str) -> bytes:
    """HMAC-SHA-256 of an API key: what the database keeps."""
    return hmac.digest(pepper, key.encode(), hashlib.sha256)
