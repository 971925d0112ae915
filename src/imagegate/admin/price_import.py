"""A price file looked at before it counts: what it would change, what that comes to, and that it is this that is done.

The token of a look stands for the prices that the file comes to, the versions in force it was compared with and the
moment they are to begin. Publishing with it does what was looked at, or nothing.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin import price_preview, price_tools
from imagegate.admin.moments import timestamp
from imagegate.admin.price_rules import Allowed, guard
from imagegate.admin.price_tools import Prices, Proposal
from imagegate.catalogue.catalogue import Catalogue
from imagegate.errors import InvalidRequest, OperatorError


@dataclass(frozen=True, slots=True)
class Looked:
    """refused: why it would not be published as it is; None: nothing is in the way. effect: see `Preview.to_json`."""

    proposal: Proposal
    token: str
    refused: str | None
    effect: dict[str, Any]


def token_of(proposal: Proposal, valid_from: datetime | None) -> str:
    """The same for the same prices over the same versions in force, and for no others."""
    terms = {id_: its.to_json() if its else None for id_, its in sorted(proposal.terms.items())}
    told = {"terms": terms, "base": dict(sorted(proposal.base.items())), "from": timestamp(valid_from)}
    return hashlib.sha256(to_json(told)).hexdigest()[:40]


def check_token(proposal: Proposal, valid_from: datetime | None, token: str | None) -> None:
    """None: nothing was looked at before, so anything goes. Raises OperatorError."""
    if token is not None and token != token_of(proposal, valid_from):
        raise OperatorError(
            "The file, its moment or the prices in force are not those that were looked at, so nothing was changed. "
            "Look at the difference again."
        )


def refusal(
    catalogue: Catalogue, reachable: Collection[str], current: Prices, proposal: Proposal, allowed: Allowed
) -> str | None:
    """Why it would not be published; None: nothing is in the way."""
    try:
        guard(catalogue, reachable, price_tools.terms_in(current), proposal.terms, allowed)
    except InvalidRequest as error:
        return error.message
    return None


async def look(
    connection: AsyncConnection,
    catalogue: Catalogue,
    reachable: Collection[str],
    current: Prices,
    proposal: Proposal,
    *,
    allowed: Allowed,
    valid_from: datetime | None,
    days: int,
    env: str,
) -> Looked:
    """Changes nothing. current: the prices that will be in force at `valid_from`. days, env: what is reckoned anew."""
    found = await price_preview.preview(connection, catalogue, current, proposal, days=days, env=env)
    refused = refusal(catalogue, reachable, current, proposal, allowed)
    return Looked(proposal, token_of(proposal, valid_from), refused, found.to_json())
