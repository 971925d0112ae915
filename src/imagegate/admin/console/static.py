"""The console's own files: styles, scripts, and those of others in `static/vendor`. Nobody signs in for them."""

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from imagegate.admin.console.render import HEADERS, HERE
from imagegate.errors import NotFound

FOLDER = HERE / "static"
FILES = {
    str(path.relative_to(FOLDER)): path
    for path in sorted(FOLDER.rglob("*"))
    if path.suffix in (".css", ".js", ".svg")
}


async def part(request: Request) -> Response:
    """Raises NotFound."""
    path = FILES.get(request.path_params["name"])
    if path is None:
        raise NotFound("There is nothing at this path.")
    return FileResponse(path, headers={**HEADERS, "cache-control": "public, max-age=300"})


ROUTES = (Route("/console/static/{name:path}", part, methods=["GET"], include_in_schema=False),)
