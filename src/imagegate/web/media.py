"""`GET /media/{signed path}`: the image behind a link. The signature holds before anything is looked up."""

import time

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from imagegate.domain import Generation
from imagegate.errors import Conflict, NotFound
from imagegate.media import links
from imagegate.web.dependencies import link_base, services_of

MIME_BY_EXTENSION = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
}


def mint_links(request: Request, generation: Generation) -> list[str]:
    """One link an image, valid IMAGEGATE_LINK_TTL_S from now, but no longer than the image is kept."""
    services = services_of(request)
    base, until = link_base(request), int(time.time()) + services.settings.link_ttl_s
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
    name = links.verify([services.keyring.links], request.scope["path"], int(time.time()))
    mime = MIME_BY_EXTENSION[name.rpartition(".")[2]]
    headers = {"cache-control": "private, max-age=3600, immutable", "content-disposition": "inline"}
    try:
        path = services.store.local_path(name)
        if path is not None:
            if not path.is_file():
                raise NotFound("gone")
            return FileResponse(path, media_type=mime, headers=headers)
        size, chunks = await services.store.open(name)
    except NotFound:
        raise Conflict("This image has expired or was deleted.", code="result_gone", status=410) from None
    return StreamingResponse(chunks, media_type=mime, headers={**headers, "content-length": str(size)})
