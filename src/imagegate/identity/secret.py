"""The keys derived from the master secret, each under a label of its own (HKDF-SHA-256, RFC 5869).

While the secret changes there are two masters: one is in force, which signs, seals and digests; both are accepted.
Which one is in force stands in the database, so that all processes change together (decision 26).
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import OperatorError
from imagegate.identity.masters import load_masters
from imagegate.identity.tables import instance
from imagegate.settings import Settings

PEPPER_ID_BYTES = 8
VERSION = "secret"
"""Counts how often another secret has come into force."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of 32 bytes from one master. None of them can be turned back into the master or into another."""

    key_pepper: bytes = field(repr=False)
    links: bytes = field(repr=False)
    sealing: bytes = field(repr=False)
    console: bytes = field(repr=False)
    fingerprint: str

    @classmethod
    def derive(cls, master: bytes) -> "Keys":
        return cls(
            key_pepper=_derive(master, "imagegate api key pepper 1"),
            links=_derive(master, "imagegate media links 1"),
            sealing=_derive(master, "imagegate sealing 1"),
            console=_derive(master, "imagegate console 1"),
            fingerprint=_derive(master, "imagegate fingerprint 1").hex()[:32],
        )


def _derive(master: bytes, label: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=label.encode()).derive(master)


class Keyring:
    """`key_pepper`, `links` and `console` are those in force; the others list all that are accepted, in force first."""

    def __init__(self, known: Sequence[Keys]) -> None:
        """known: newest first. Until `turn` says otherwise the oldest is in force: that one everybody accepts."""
        self.known = tuple(known)
        self._put_first(self.known[-1])

    @classmethod
    def derive(cls, *masters: bytes) -> "Keyring":
        """masters: newest first."""
        return cls([Keys.derive(master) for master in masters])

    def turn(self, fingerprint: str) -> None:
        """Let the secret of this fingerprint be in force. Raises OperatorError where it is not known here."""
        for keys in self.known:
            if hmac.compare_digest(keys.fingerprint, fingerprint):
                self._put_first(keys)
                return
        raise OperatorError(
            "This database was set up with another IMAGEGATE_SECRET, or has changed to another: its API keys and links "
            "would all be refused. Start with the secret that is in force there. Look: imagegate doctor"
        )

    def _put_first(self, keys: Keys) -> None:
        accepted = (keys, *(other for other in self.known if other is not keys))
        self.key_pepper, self.links, self.console = keys.key_pepper, keys.links, keys.console
        self.fingerprint = keys.fingerprint
        self.peppers = tuple(each.key_pepper for each in accepted)
        self.link_keys = tuple(each.links for each in accepted)
        self.sealing = tuple(each.sealing for each in accepted)
        self.console_keys = tuple(each.console for each in accepted)

    @property
    def fingerprints(self) -> list[str]:
        """Of all that are known here, newest first."""
        return [keys.fingerprint for keys in self.known]


def load_keyring(settings: Settings) -> Keyring:
    """Raises OperatorError for a secret that is missing, too short or guessable."""
    return Keyring.derive(*load_masters(settings))


async def check_fingerprint(tx: AsyncConnection, keyring: Keyring) -> None:
    """Turn to the secret that is in force; a database that has none yet takes the newest.

    Raises OperatorError where it is not known here.
    """
    query = text(
        "INSERT INTO instance (name, value) VALUES ('secret_fingerprint', :value) ON CONFLICT DO NOTHING"
    )
    await tx.execute(query, {"value": keyring.fingerprints[0]})
    await turn_to_force(tx, keyring)


async def turn_to_force(connection: AsyncConnection, keyring: Keyring) -> None:
    """As `check_fingerprint`, for a database that has a secret."""
    query = select(instance.c.value).where(instance.c.name == "secret_fingerprint")
    keyring.turn((await connection.execute(query)).scalar_one())


def digest(pepper: bytes, key: str) -> bytes:
    """HMAC-SHA-256 of an API key: what the database keeps."""
    return hmac.digest(pepper, key.encode(), hashlib.sha256)


def pepper_id(pepper: bytes) -> bytes:
    """Eight bytes that tell which secret a digest was made with, and nothing else of it."""
    return hmac.digest(pepper, b"imagegate pepper id", hashlib.sha256)[:PEPPER_ID_BYTES]
