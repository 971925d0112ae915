"""What an operator does to accounts, keys, wallets and prices: plain functions in a transaction of the caller.

Every `to_json` is the shape that the command line prints and HTTP answers. Raises InvalidRequest, NotFound,
UnknownModel and OperatorError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.domain import Size
from imagegate.errors import InvalidRequest, NotFound, Unpriced
from imagegate.generation.fitting import LEGACY
from imagegate.identity import keys
from imagegate.identity.keys import Labels
from imagegate.ids import parse_public_id, public_id
from imagegate.ledger import holds, wallets
from imagegate.ledger.holds import Wallet
from imagegate.ledger.wallets import Funding
from imagegate.settings import Settings

SIGNUP = Funding(kind="grant", debit="promo", source="signup")


@dataclass(frozen=True, slots=True)
class Account:
    id: UUID
    name: str
    created_at: datetime | None = None
    closed_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        known = {"id": public_id("acc", self.id), "name": self.name}
        return {**known, "created_at": timestamp(self.created_at), "closed_at": timestamp(self.closed_at)}


@dataclass(frozen=True, slots=True)
class Key:
    """`plain` is there only when the key has just been made."""

    id: UUID
    account: str
    env: str
    labels: Labels
    hint: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    plain: str | None = None

    def status(self, now: datetime) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def to_json(self) -> dict[str, Any]:
        shown = (
            {"key": self.plain}
            if self.plain
            else {"hint": self.hint, "status": self.status(datetime.now(UTC))}
        )
        return {
            "id": public_id("key", self.id),
            **shown,
            "account": self.account,
            "env": self.env,
            "team": self.labels.team,
            "app": self.labels.app,
            "environment": self.labels.environment,
            "created_at": timestamp(self.created_at),
            "expires_at": timestamp(self.expires_at),
            "revoked_at": timestamp(self.revoked_at),
        }


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


async def open_account(tx: AsyncConnection, settings: Settings, name: str, actor: str) -> Account:
    """A new account with an empty live wallet, and a test wallet that holds its grant."""
    account_id = await keys.create_account(tx, name)
    await wallets.create_wallets(tx, account_id)
    if settings.test_wallet_tokens:
        await wallets.top_up(
            tx,
            account_id,
            "test",
            settings.test_wallet_tokens,
            reason="test tokens of a new account",
            actor=actor,
            funding=SIGNUP,
        )
    return Account(account_id, name, datetime.now(UTC))


async def find_account(connection: AsyncConnection, name: str) -> Account | None:
    account_id = await keys.find_account(connection, name)
    return Account(account_id, name) if account_id else None


async def list_accounts(connection: AsyncConnection) -> list[Account]:
    return [Account(*row) for row in await keys.list_accounts(connection)]


async def create_key(
    tx: AsyncConnection, pepper: bytes, account: str, env: str, labels: Labels, expires_at: datetime | None
) -> Key:
    """A new key, in plain text for the only time."""
    account_id = await keys.get_account(tx, account)
    key_id, plain = await keys.create_key(tx, pepper, account_id, env, labels, expires_at)
    return Key(key_id, account, env, labels, plain[-4:], datetime.now(UTC), expires_at, plain=plain)


async def list_keys(connection: AsyncConnection, account: str | None) -> list[Key]:
    account_id = await keys.get_account(connection, account) if account is not None else None
    return [
        Key(
            row.id,
            row.account,
            row.env,
            Labels(row.team, row.app, row.environment),
            row.hint,
            row.created_at,
            row.expires_at,
            row.revoked_at,
        )
        for row in await keys.list_keys(connection, account_id)
    ]


async def revoke_key(tx: AsyncConnection, text: str) -> UUID:
    """text: `key_…` or the UUID itself."""
    key_id = read_key_id(text)
    if key_id is None:
        raise NotFound("There is no such key. List them: imagegate keys list")
    account_id, env = await keys.get_owner(tx, key_id)
    await holds.touch_wallets(tx, account_id, env)
    await keys.revoke_key(tx, key_id)
    return key_id


def read_key_id(text: str) -> UUID | None:
    try:
        return parse_public_id("key", text) or UUID(text)
    except ValueError:
        return None


def wallet_json(account: str, wallet: Wallet, settings: Settings) -> dict[str, Any]:
    """`available` is what the tokens are worth in the currency, for reading; tokens are what counts."""
    return {
        "account": account,
        "env": wallet.env,
        "posted_tokens": wallet.posted_tokens,
        "held_tokens": wallet.held_tokens,
        "available_tokens": wallet.available_tokens,
        "currency": settings.currency,
        "available": wallet.available_tokens / settings.tokens_per_currency_unit,
    }


async def get_wallet(connection: AsyncConnection, account: str, env: str) -> Wallet:
    return await wallets.get_wallet(connection, await keys.get_account(connection, account), env)


async def top_up(
    tx: AsyncConnection, account: str, env: str, tokens: int, *, reason: str, actor: str, funding: Funding
) -> Wallet:
    """The wallet after it. It stays locked until `tx` ends."""
    account_id = await keys.get_account(tx, account)
    return await wallets.top_up(
        tx, account_id, env, tokens, reason=said(reason), actor=actor, funding=funding
    )


async def set_price(
    tx: AsyncConnection,
    catalogue: Catalogue,
    name: str,
    *,
    size: Size | None,
    quality: str | None,
    tokens: int,
    reason: str,
    actor: str,
) -> Price:
    """Append a version of the price of the model that `name` finds."""
    model = catalogue.find(name).model
    word = LEGACY.get(quality, quality) if quality else None
    if word is not None and word not in model.qualities:
        known = ", ".join(model.qualities) or "none"
        raise InvalidRequest(f"{model.id} has no quality {quality!r}; it has: {known}.", param="quality")
    return await price_rows.set_price(tx, model.id, size, word, tokens, said(reason), actor)


async def end_price(
    tx: AsyncConnection, catalogue: Catalogue, name: str, *, reason: str, actor: str
) -> Price:
    return await price_rows.end_price(tx, catalogue.find(name).model.id, said(reason), actor)


def list_prices(catalogue: Catalogue, book: PriceBook, name: str | None) -> Sequence[Price]:
    """The prices in force, ended ones too; of one model its own, else the one it stands under."""
    if name is None:
        return [book.current[id_] for id_ in catalogue.entries if id_ in book.current]
    model = catalogue.find(name).model
    if own := book.current.get(model.id):
        return [own]
    try:
        return [book.find(model, catalogue)]
    except Unpriced:
        return []


def price_json(price: Price) -> dict[str, Any]:
    """`prices`: tokens of one image by size and quality, null = any. `ended`: the model cannot be bought."""
    terms = price.terms.to_json() if price.terms else {"unit": None, "cells": [], "per_megapixel": None}
    return {
        "model": price.model,
        "version": price.version,
        "ended": price.terms is None,
        "unit": terms["unit"],
        "prices": terms["cells"],
        "per_megapixel": terms["per_megapixel"],
        "valid_from": timestamp(price.valid_from),
        "source": price.source,
        "source_date": price.source_date.isoformat() if price.source_date else None,
        "reason": price.reason,
        "actor": price.actor,
    }


def said(reason: str) -> str:
    """A reason is kept for ever beside what it explains, so it must say something."""
    if not 1 <= len(reason.strip()) <= 1000:
        raise InvalidRequest("A reason has 1 to 1000 characters.", param="reason")
    return reason.strip()
