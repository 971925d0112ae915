"""Who may look at the console: sign-in links and sessions, signed texts that say all there is to know of them.

What is used up, a link after its one use and a session that was left, is written down until it would end anyway.
"""

import binascii
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Unauthenticated
from imagegate.identity.operators import SCOPES
from imagegate.identity.tables import console_spent
from imagegate.ids import new_id

Role = Literal["read", "write"]
Kind = Literal["link", "session"]

LINK_LASTS = timedelta(minutes=15)
SESSION_LASTS = timedelta(hours=12)
LONGEST = 2048
ENTRY = "/console/sign-in"
BAD_LINK = (
    "This link is not valid: it was used before, is older than 15 minutes, or is damaged. Print another one: "
)
BAD_LINK += "imagegate console link"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A link or a session. who: how the audit log names its holder. role: of one that no operator key stands behind.

    operator_id: the operator key it came from, whose scopes hold. by_proxy: a proxy names its holder at every request.
    """

    kind: Kind
    id: UUID
    who: str
    role: Role
    until: datetime
    operator_id: UUID | None = None
    by_proxy: bool = False

    @property
    def scopes(self) -> frozenset[str]:
        """Those of the role."""
        return frozenset(SCOPES if self.role == "write" else SCOPES[:1])


def new_link(role: Role, who: str) -> Ticket:
    return Ticket("link", new_id(), who, role, datetime.now(UTC) + LINK_LASTS)


def new_session(role: Role, who: str, operator_id: UUID | None = None, *, by_proxy: bool = False) -> Ticket:
    """With an id of its own: nobody can have known it before the sign-in."""
    until = datetime.now(UTC) + SESSION_LASTS
    return Ticket("session", new_id(), who, role, until, operator_id, by_proxy)


def link_url(key: bytes, base_url: str, role: Role, who: str) -> str:
    """An address that signs in once, within 15 minutes. base_url: where the gateway is reached."""
    return f"{base_url}{ENTRY}?token={write(key, new_link(role, who))}"


def write(key: bytes, ticket: Ticket) -> str:
    """The ticket as text, and its signature: HMAC-SHA-256 over it, in base64url."""
    operator = ticket.operator_id.hex if ticket.operator_id else None
    until = int(ticket.until.timestamp())
    fields = [ticket.kind, ticket.id.hex, ticket.who, ticket.role, until, operator, ticket.by_proxy]
    said = json.dumps(fields, separators=(",", ":")).encode()
    return f"{_text(said)}.{_text(_sign(key, b'ticket', said))}"


def read(key: bytes, kind: Kind, text: str) -> Ticket | None:
    """None: it is forged, damaged, of another kind or over."""
    said, _, signature = text.partition(".")
    try:
        raw, given = _bytes(said), _bytes(signature)
    except (binascii.Error, ValueError):
        return None
    if len(text) > LONGEST or not hmac.compare_digest(given, _sign(key, b"ticket", raw)):
        return None
    found, id_, who, role, until, operator, by_proxy = json.loads(raw)
    ends = datetime.fromtimestamp(until, UTC)
    if found != kind or ends <= datetime.now(UTC):
        return None
    return Ticket(
        found, UUID(hex=id_), who, role, ends, UUID(hex=operator) if operator else None, bool(by_proxy)
    )


def csrf_of(key: bytes, session: Ticket) -> str:
    """What every form of the session carries, and nobody else can know."""
    return _text(_sign(key, b"form", session.id.bytes))


def read_any(keys: Sequence[bytes], kind: Kind, text: str) -> tuple[Ticket | None, bytes]:
    """What was signed with one of the keys, and that key; else None and the first."""
    for key in keys:
        if (ticket := read(key, kind, text)) is not None:
            return ticket, key
    return None, keys[0]


async def use_link(tx: AsyncConnection, keys: Sequence[bytes], text: str) -> Ticket:
    """The link, which opens nothing any more from the commit on. Raises Unauthenticated, with one text."""
    link, _ = read_any(keys, "link", text)
    if link is None or not await spend(tx, link):
        raise Unauthenticated(BAD_LINK)
    return link


async def spend(tx: AsyncConnection, ticket: Ticket) -> bool:
    """From the commit on the ticket is refused. False: it had been spent before."""
    await tx.execute(delete(console_spent).where(console_spent.c.until < func.now()))
    row = {"id": ticket.id, "until": ticket.until}
    spent = insert(console_spent).values(row).on_conflict_do_nothing().returning(console_spent.c.id)
    return (await tx.execute(spent)).first() is not None


async def is_spent(connection: AsyncConnection, ticket: Ticket) -> bool:
    query = select(console_spent.c.id).where(console_spent.c.id == ticket.id)
    return (await connection.execute(query)).first() is not None


def _sign(key: bytes, label: bytes, said: bytes) -> bytes:
    return hmac.digest(key, label + b"\n" + said, "sha256")


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    """Raises ValueError."""
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
