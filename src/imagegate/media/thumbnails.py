"""Small copies of stored pictures for pages that show many: made apart on the first look, and kept beside them."""

from contextlib import suppress

from imagegate.domain import Size
from imagegate.errors import NotFound, StorageUnavailable
from imagegate.media.images import decode, encode, fit, probe, upright
from imagegate.media.objects import checked_bytes, thumbnail_of
from imagegate.media.store import ImageStore
from imagegate.pool import WorkPool

WIDEST_PX, TALLEST_PX = 320, 640
COMPRESSION = 70


async def thumbnail(store: ImageStore, pool: WorkPool, name: str) -> bytes:
    """A stored image as WebP, at most 320 px wide; from the second look on it costs one read.

    Raises NotFound once the image has gone, or where other bytes are in its place, StorageUnavailable, Overloaded, and
    Unworkable for what cannot be decoded.
    """
    kept = thumbnail_of(name)
    with suppress(NotFound):
        return await store.get(kept)
    data = await pool.run(checked_bytes, name, await store.get(name))
    made = await pool.apart(shrunk, data)
    with suppress(StorageUnavailable):  # it can be shown all the same
        await store.put(kept, made)
        # Where the image went meanwhile, whoever removed it may have looked for small copies already.
        if not await store.exists(name):
            await store.delete(kept)
    return made


def shrunk(data: bytes) -> bytes:
    """Blocking. Raises NotAnImage, ImageTooLarge."""
    image = upright(decode(data, probe(data)))
    width, height = image.size
    share = min(1.0, WIDEST_PX / width, TALLEST_PX / height)
    size = Size(max(round(width * share), 1), max(round(height * share), 1))
    return encode(fit(image, size), "webp", COMPRESSION)
