"""Pictures on pages: small ones behind the session, large ones by signed links without a host, so always our own."""

import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from imagegate.admin import generations
from imagegate.admin.console.door import as_pages, to_sign_in, visiting
from imagegate.admin.console.render import HEADERS
from imagegate.admin.http.outage import answering
from imagegate.admin.pictures import pictures_of
from imagegate.errors import NotFound
from imagegate.ids import parse_image_id
from imagegate.media import links
from imagegate.media.thumbnails import thumbnail
from imagegate.pool import Unworkable
from imagegate.settings import Settings
from imagegate.web.dependencies import services_of

KEPT_S = 86_400
"""How long a browser shows a small picture without asking again; no longer than the picture itself is kept."""


def media_path(settings: Settings, key: bytes, image: dict[str, Any]) -> str | None:
    """`/media/…`, valid IMAGEGATE_LINK_TTL_S; None once the image has gone. image: as `generations.image_json`."""
    now, ends = time.time(), datetime.fromisoformat(image["expires_at"]).timestamp()
    if ends <= now:
        return None
    return links.mint([key], image["object"], min(int(now) + settings.link_ttl_s, int(ends)), "")


def thumb_path(generation: str, index: int, image: dict[str, Any]) -> str | None:
    """The small picture's address, always the same; None once the image has gone. generation: `gen_…`."""
    return f"/console/pictures/{generation}/{index}.webp" if left_s(image) > 0 else None


async def find_image(connection: AsyncConnection, image_id: str) -> dict[str, Any] | None:
    """A stored picture by its `gen_…_0`, as `generations.image_json`, and whose it is: `account`, `env`.

    None: there never was one. Raises NotFound for a generation that there never was.
    """
    named = parse_image_id(image_id)
    if named is None:
        return None
    row = await generations.find(connection, named[0])
    images = (await pictures_of(connection, [row])).get(named[0], [])
    if named[1] >= len(images):
        return None
    return images[named[1]] | {"account": row.account, "env": row.env}


def left_s(image: dict[str, Any]) -> int:
    """How long the image is still kept."""
    return int((datetime.fromisoformat(image["expires_at"]) - datetime.now(UTC)).total_seconds())


async def show(request: Request) -> Response:
    """A small picture, for those who are signed in. Raises NotFound, also for a purged or expired one.

    The connection goes back before anything is read or drawn: a page asks for many of these at once.
    """
    async with answering(changing=False):
        async with visiting(request) as visit:
            if visit is None:
                return to_sign_in(request)
            image = await find_image(visit.connection, "{id}_{index}".format_map(visit.path))
        if image is None or left_s(image) <= 0:
            raise NotFound("This picture is not kept here.")
        return await small(request, image)


async def small(request: Request, image: dict[str, Any]) -> Response:
    """What cannot be made small is shown as it is."""
    services = services_of(request)
    try:
        data = await thumbnail(services.store, services.pool, image["object"])
    except Unworkable:
        to = media_path(services.settings, services.keyring.links, image)
        return RedirectResponse(to or "", 302, headers=HEADERS)
    kept = f"private, max-age={min(KEPT_S, left_s(image))}, immutable"
    return Response(data, media_type="image/webp", headers={**HEADERS, "cache-control": kept})


ROUTES: list[Route] = [
    Route("/console/pictures/{id}/{index}.webp", as_pages(show), methods=["GET"], include_in_schema=False)
]
