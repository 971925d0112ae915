"""`/docs`: every route, described and to be tried out. All that the page loads comes from this gateway.

Swagger UI's own files are those that the package fastapi-offline carries.
"""

from importlib.resources import files
from pathlib import Path

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from imagegate.errors import NotFound

PAGE = "/docs"
SCHEMA = "/openapi.json"
FOLDER = Path(str(files("fastapi_offline"))) / "static"
FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
ONLY_FROM_HERE = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
    )
)


async def page(_: Request) -> Response:
    """The page. Its validator, which would send our description away, is off."""
    shown = get_swagger_ui_html(
        openapi_url=SCHEMA,
        title="imagegate",
        swagger_js_url=f"{PAGE}/{FILES[0]}",
        swagger_css_url=f"{PAGE}/{FILES[1]}",
        swagger_favicon_url=f"{PAGE}/{FILES[2]}",
        swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": False},
    )
    return HTMLResponse(shown.body, headers={"content-security-policy": ONLY_FROM_HERE})


async def part(request: Request) -> Response:
    """One of the files that the page is made of. Raises NotFound."""
    name = request.path_params["name"]
    if name not in FILES:
        raise NotFound("There is nothing at this path. The routes are listed at /docs.")
    return FileResponse(FOLDER / name, headers={"cache-control": "public, max-age=86400"})


ROUTES = (
    Route(PAGE, page, methods=["GET"], include_in_schema=False),
    Route(PAGE + "/{name}", part, methods=["GET"], include_in_schema=False),
)
