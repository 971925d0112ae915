"""As much of S3 as the store uses, on loopback: PUT, also `If-None-Match`, GET, HEAD, DeleteObjects, ListObjectsV2."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from aiohttp import web


class FakeS3:
    """One bucket. `broken` answers every request with that status."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.content_types: dict[str, str] = {}
        self.broken: int | None = None
        self.requests: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info.get("key", "")
        self.requests.append(f"{request.method} {key}")
        if self.broken is not None:
            return web.Response(status=self.broken)
        match request.method:
            case "PUT":
                if request.headers.get("If-None-Match") == "*" and key in self.objects:
                    return web.Response(status=412)
                self.objects[key] = await request.read()
                self.content_types[key] = request.content_type
                return web.Response(headers={"ETag": '"1"'})
            case "POST" if "delete" in request.query:
                return self._deletion((await request.read()).decode())
            case _ if not key:
                return self._listing(request.query.get("prefix", ""))
            case _:
                return self._object(key)

    def _object(self, key: str) -> web.Response:
        if key not in self.objects:
            return web.Response(status=404)
        headers = {"ETag": '"1"', "Last-Modified": format_datetime(datetime.now(UTC), usegmt=True)}
        headers["Content-Length"] = str(len(self.objects[key]))  # said of nothing too, as S3 does
        return web.Response(body=self.objects[key], headers=headers)

    def _deletion(self, body: str) -> web.Response:
        keys = re.findall(r"<Key>(.*?)</Key>", body)
        for key in keys:
            self.objects.pop(key, None)
        gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        return web.Response(text=f"<DeleteResult>{gone}</DeleteResult>", content_type="application/xml")

    def _listing(self, prefix: str) -> web.Response:
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<Size>{len(data)}</Size><ETag>1</ETag></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        return web.Response(text=body, content_type="application/xml")


@asynccontextmanager
async def serving(fake: FakeS3) -> AsyncIterator[str]:
    """The endpoint. Its only bucket is called `images`."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/images", fake.answer)
    app.router.add_route("*", "/images/{key:.*}", fake.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
