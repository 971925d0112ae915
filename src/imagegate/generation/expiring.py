"""Removes what has been kept long enough: images from the store, prompts from the database; what was paid stays.

Any number of processes may do it at once. Whatever one of them leaves undone, or does again, the next turn finds.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from imagegate.generation import purge
from imagegate.journal import purging, retention
from imagegate.journal.retention import BEGINNING, Step, Wallet, What
from imagegate.services import Services

log = structlog.get_logger()

WALLETS = 100
ROWS = 100
"""How many generations of an account are removed before it is another one's turn."""
MOST = 10_000
"""After so many generations a turn is over, of each of the two."""
AT_ONCE = 4
"""Generations whose objects are deleted at the same time: readers of the store must not wait for long."""


@dataclass(frozen=True, slots=True)
class Expired:
    """How many generations lost their prompts, how many their images, and how many objects were deleted for that."""

    prompts: int
    images: int
    objects: int


async def expire(services: Services) -> Expired:
    """One turn. Raises StorageUnavailable after the prompts, and what an absent database raises: try again later."""
    prompts = await forget_prompts(services)
    images, objects = await remove_images(services, "images")
    more, more_objects = await remove_images(services, "ahead")
    done = Expired(prompts, images + more, objects + more_objects)
    if done.prompts or done.images:
        log.info("expired", prompts=done.prompts, images=done.images, objects=done.objects)
    return done


async def forget_prompts(services: Services) -> int:
    """Scrub the requests of generations whose prompts are due; returns how many."""
    usual_h, done = services.settings.keep_prompts_h, 0
    while done < MOST:
        async with services.engine.connect() as connection:
            wallets = await retention.due_wallets(connection, "prompts", usual_h, WALLETS)
        scrubbed = sum([await forget_some(services, wallet) for wallet in wallets])
        if not scrubbed:
            break
        done += scrubbed
    return done


async def forget_some(services: Services, wallet: Wallet) -> int:
    """The next ones of one account, in one transaction, in which no other process forgets anything of it."""
    async with services.engine.begin() as tx:
        reached = await retention.move_mark(tx, "prompts", wallet, BEGINNING)
        steps = await retention.next_steps(tx, "prompts", replace(wallet, until=reached), ROWS)
        if not steps:
            return 0
        await purging.forget(tx, wallet.account_id, wallet.env, [step.id for step in steps])
        await retention.move_mark(tx, "prompts", wallet, steps[-1].id)
    return len(steps)


async def remove_images(services: Services, what: What) -> tuple[int, int]:
    """Delete the objects of generations that are over; returns how many generations and how many objects."""
    usual_h, walked, done, objects = services.settings.keep_images_h, 0, 0, 0
    while walked < MOST:
        async with services.engine.connect() as connection:
            wallets = await retention.due_wallets(connection, what, usual_h, WALLETS)
        for wallet in wallets:
            async with services.engine.connect() as connection:
                steps = await retention.next_steps(connection, what, wallet, ROWS)
            due = [step for step in steps if step.due]
            objects += await remove_all(services, wallet, due)
            walked, done = walked + len(steps), done + len(due)
            if steps:
                async with services.engine.begin() as tx:
                    await retention.move_mark(tx, what, wallet, steps[-1].id)
        if not wallets:
            break
    return done, objects


async def remove_all(services: Services, wallet: Wallet, due: Sequence[Step]) -> int:
    """Returns how many objects were deleted. Raises StorageUnavailable when one of them could not be."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(step: Step) -> int:
        async with slots:
            owner = (wallet.account_id, wallet.env, step.id)
            return await purge.clear(services.store, *owner, step.epoch)

    ends = await asyncio.gather(*(one(step) for step in due), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return sum(end for end in ends if isinstance(end, int))
