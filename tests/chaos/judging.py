"""What must agree in the end: callers' transcripts, the ledger, the store and the providers' invoices. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from imagegate.ids import public_id
from tests.chaos.callers import Call, Told
from tests.chaos.providers import Line

LOST = ("AMBIGUOUS", "DELIVERED", "IN_FLIGHT")
"""Classes that an attempt may have whose answer never came, or whose worker was killed: rolled forward it delivered."""


@dataclass(frozen=True)
class Books:
    """What the database has in the end. unproved: what the ledger's own proof found."""

    generations: Sequence[Any]
    captures: Sequence[Any]
    images: Sequence[Any]
    attempts: Sequence[Any]
    wallets: Sequence[Any]
    prices: Mapping[int, int]
    unproved: Sequence[str] = ()


@dataclass(frozen=True)
class World:
    """All that is held against each other. read: the checksum of what each link gave, None for none."""

    calls: Sequence[Call]
    books: Books
    invoice: Sequence[Line]
    read: Mapping[str, str | None]
    funded: Mapping[UUID, int]
    complaints: Sequence[str] = ()


def contradictions(world: World) -> list[str]:
    """Everything that does not agree, in words; nothing when all is well."""
    return [
        *(f"ledger verify: {says}" for says in world.books.unproved),
        *(f"a provider refused the wire: {says}" for says in world.complaints),
        *of_the_wallets(world),
        *of_the_calls(world),
        *of_the_images(world),
        *of_the_invoices(world),
    ]


def of_the_wallets(world: World) -> Iterator[str]:
    spent: dict[UUID, int] = defaultdict(int)
    for capture in world.books.captures:
        spent[capture.account_id] += capture.tokens
    for wallet in world.books.wallets:
        if wallet.held_tokens:
            yield f"account {wallet.account_id}: {wallet.held_tokens} tokens are still held"
        left = world.funded.get(wallet.account_id, 0) - spent[wallet.account_id]
        if wallet.posted_tokens != left:
            yield f"account {wallet.account_id}: has {wallet.posted_tokens} tokens, its payments leave {left}"
    for row in world.books.generations:
        if row.state not in ("captured", "voided"):
            yield f"{name_of(row.id)}: is still {row.state}"


def name_of(id_: UUID) -> str:
    return public_id("gen", id_)


def of_the_calls(world: World) -> Iterator[str]:
    paid: dict[str, list[int]] = defaultdict(list)
    prompts = {row.id: row.prompt for row in world.books.generations}
    by_prompt: dict[str, list[str]] = defaultdict(list)
    for capture in world.books.captures:
        named = name_of(capture.generation_id)
        paid[named].append(capture.tokens)
        by_prompt[prompts[capture.generation_id]].append(named)
    hashes: dict[str, list[str]] = defaultdict(list)
    for image in world.books.images:
        hashes[name_of(image.generation_id)].append(image.sha256.hex())
    for call in world.calls:
        bought = by_prompt[call.prompt]
        for told in call.told:
            if told.code == "internal_error":
                yield f"{about(call)}: was told of a bug"
            if told.status == 200:
                yield from of_a_success(call, told, paid, hashes, world.books.prices)
        if len(bought) > most_bought(call):
            yield f"{about(call)}: was paid {len(bought)} times: {bought}"
        if is_refused(call) and bought:
            yield f"{about(call)}: was refused for good, and paid: {bought}"


def of_a_success(
    call: Call,
    told: Told,
    paid: Mapping[str, Sequence[int]],
    hashes: Mapping[str, Sequence[str]],
    prices: Mapping[int, int],
) -> Iterator[str]:
    """I8: what was answered is captured once, at the price that was told, with its own images."""
    captured = list(paid.get(told.id or "", ()))
    if captured != [told.charged]:
        yield f"{about(call)}: {told.id} was told to cost {told.charged}, captured: {captured}"
    recorded = list(hashes.get(told.id or "", ()))
    if told.hashes and list(told.hashes) != recorded:
        yield f"{about(call)}: {told.id} was answered with {told.hashes}, recorded: {recorded}"
    price = prices.get(told.price_version or 0, 0) * len(recorded)
    if told.charged != price:
        yield f"{about(call)}: {told.id} cost {told.charged}, version {told.price_version} says {price}"


def most_bought(call: Call) -> int:
    """How often it may be paid: with a key, and with the header of a retry, once; else once a try."""
    return len(call.told) if call.kind in ("once", "leaver") else 1


def is_refused(call: Call) -> bool:
    """Its last word was an error, and every word before it was one that may be relied on."""
    if not call.told or not call.told[-1].is_definite_error:
        return False
    return call.key is not None or all(told.is_definite_error for told in call.told)


def about(call: Call) -> str:
    words = [f"{told.status} {told.code or ''}".strip() for told in call.told]
    return f"{call.kind} call «{call.prompt}» of {call.account}, told {words}"


def of_the_images(world: World) -> Iterator[str]:
    """Every image of every success can be read, with the checksum that is recorded."""
    hashes: dict[str, list[str]] = defaultdict(list)
    for image in world.books.images:
        hashes[name_of(image.generation_id)].append(image.sha256.hex())
    made = {sha256 for line in world.invoice for sha256 in line.hashes}
    for call in world.calls:
        for told in call.told:
            read = [world.read.get(link) for link in told.links]
            if told.links and read != hashes[told.id or ""]:
                yield f"{about(call)}: {told.id} has links that give {read}"
            if foreign := set(hashes[told.id or ""]) - made:
                yield f"{about(call)}: {told.id} has images that no provider made: {foreign}"


def of_the_invoices(world: World) -> Iterator[str]:
    """Every line of every invoice is one recorded attempt, and no attempt is two lines."""
    prompts = {row.id: row.prompt for row in world.books.generations}
    by_id: dict[str, list[Any]] = defaultdict(list)
    unnamed: dict[str, list[Any]] = defaultdict(list)
    for attempt in world.books.attempts:
        if attempt.upstream_id:
            by_id[attempt.upstream_id].append(attempt)
        elif attempt.outcome in LOST:
            unnamed[prompts[attempt.generation_id]].append(attempt)
    for line in world.invoice:
        named = by_id.get(line.id, [])
        if len(named) > 1:
            yield f"{line} stands in {len(named)} attempts"
        elif named and named[0].provider != line.provider:
            yield f"{line} is recorded as {named[0].provider}'s"
        elif not named and not take(unnamed[line.prompt], line.provider):
            yield f"{line} maps to no attempt"
    billed = {line.id for line in world.invoice}
    for id_, attempts in by_id.items():
        if id_ not in billed and any(attempt.outcome == "DELIVERED" for attempt in attempts):
            yield f"attempt {id_} delivered, and no invoice has it"


def take(attempts: list[Any], provider: str) -> bool:
    """Use up the attempt that this provider's lost call is; one of a killed worker does not know whose it was."""
    for wanted in (provider, "unknown"):
        for attempt in attempts:
            if attempt.provider == wanted:
                attempts.remove(attempt)
                return True
    return False
