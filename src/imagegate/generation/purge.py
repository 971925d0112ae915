"""What a purge and an expiry leave of a generation: everything but its images and what they showed.

A purge has two steps, in this order. `journal.purging.mark` in a transaction: from its commit on nobody is given the
images any more. Then `remove_objects`: a crash between the two leaves objects that nothing links to, and the next purge
removes them.
"""

from datetime import datetime
from uuid import UUID

from imagegate.domain import Generation
from imagegate.errors import Conflict
from imagegate.journal.purging import Purged
from imagegate.media.objects import handed_in, quarantined, thumbnails
from imagegate.media.store import ImageStore

GONE = "The images of this generation have expired or were purged. What was charged for them stands."


async def remove_objects(store: ImageStore, purged: Purged) -> int:
    """Delete what the store has of a generation whose mark is committed; returns how many objects that were.

    A later epoch's are left: it may run again under its idempotency key. Raises StorageUnavailable: purge once more.
    """
    return await clear(store, purged.account_id, purged.env, purged.generation_id, purged.epoch)


async def clear(store: ImageStore, account_id: UUID, env: str, generation_id: UUID, epoch: int) -> int:
    """Delete what a generation's epochs up to `epoch` left in the store: images, also in quarantine, and what is aside.

    Thumbnails are looked for once the images are gone: none is kept from then on.
    """
    removed = 0
    place = f"{account_id.hex}/{env}/{generation_id.hex}/"
    for prefix in (place, quarantined(place), handed_in(place), thumbnails(place)):
        for name in await store.list(prefix):
            if int(name.split("/")[-2]) <= epoch:
                await store.delete(name)
                removed += 1
    return removed


def is_gone(generation: Generation, now: datetime) -> bool:
    """True when it had images that have expired or were purged."""
    return any(image.expires_at is not None and image.expires_at <= now for image in generation.images)


def check_kept(generation: Generation, now: datetime) -> Generation:
    """The generation itself. Raises Conflict 410 `result_gone` when its images are no longer kept."""
    if is_gone(generation, now):
        raise Conflict(GONE, code="result_gone", status=410)
    return generation
