"""`GET /media/{signed path}`: the image behind a link. The signature holds before anything is looked up."""

import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from imagegate.domain import Generation
from imagegate.errors import Conflict, NotFound
from imagegate.media import links
from imagegate.media.objects import unharmed
from imagegate.services import Services
from imagegate.web.dependencies import link_base, services_of


def mint_links(request: Request, generation: Generation) -> list[str]:
    """As `links_at`, on the base that this request's caller sees."""
    return links_at(services_of(request), generation, link_base(request))


def links_at(services: Services, generation: Generation, base: str) -> list[str]:
    """One link an image, valid IMAGEGATE_LINK_TTL_S from now, but no longer than the image is kept."""
    until = int(time.time()) + services.settings.link_ttl_s
    return [
        links.mint(
            [services.keyring.links],
            image.object,
            min(until, int(image.expires_at.timestamp())) if image.expires_at else until,
            base,
        )
        for image in generation.images
    ]


async def media(request: Request) -> Response:
    """The image's bytes. Raises InvalidSignature, and Conflict 410 once the image has gone."""
    services = services_of(request)
    path = request.scope.get("raw_path", b"").decode("latin-1")
    name = links.verify(services.keyring.link_keys, path, time.time())
    try:
        stored = await services.store.open(name)
        chunks = unharmed(name, stored.chunks)
        first = await anext(chunks)
    except NotFound:
        raise Conflict("This image has expired or was deleted.", code="result_gone", status=410) from None
    headers = {
        "cache-control": "private, max-age=3600, immutable",
        "content-disposition": "inline",
        "content-length": str(stored.size_bytes),
    }
    return StreamingResponse(after(first, chunks), media_type=stored.mime, headers=headers)


async def after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
