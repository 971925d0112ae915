"""Async jobs: a generation that is accepted with 202, and asked for, listed or cancelled by its id.

A job is asked for by its address (`/v1/images/generations/async`, `/v1/async/images/generations`), by `async: true`, or
by `Prefer: respond-async` (RFC 7240).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.dialects.openai import reply
from imagegate.domain import Generation, GenerationRequest, ParameterReceipt, Principal
from imagegate.generation import accepting
from imagegate.services import Services
from imagegate.web.dependencies import asked_of, authenticate, headers_of, link_base, services_of
from imagegate.web.drawing import with_own_key
from imagegate.web.listener import Listener
from imagegate.web.media import mint_links
from imagegate.web.process import Handler

router = APIRouter(tags=["images"])

PREFERRED = re.compile(r"(^|[,;])\s*respond-async\s*($|[,;])", re.IGNORECASE)
POLL_S = 2
"""How long a caller should wait before it asks for its job."""
SECURED: dict[str, Any] = {"security": [{"bearer": []}]}


def is_async(request: Request, wanted: GenerationRequest) -> bool:
    if wanted.later:
        return True
    path: str = request.scope["path"]
    if path.endswith("/async") or path.startswith("/v1/async/"):
        return True
    preferred = headers_of(request).get(b"prefer")
    return preferred is not None and PREFERRED.search(preferred.decode("latin-1")) is not None


def without_webhook(wanted: GenerationRequest) -> GenerationRequest:
    """Who waits for the answer needs no webhook: it is reported as ignored, and refused in strict mode."""
    receipt = ParameterReceipt("webhook_url", "ignored", "only async jobs have webhooks")
    return replace(wanted, webhook_url=None, treated=(*wanted.treated, receipt))


async def accept(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest, route: str
) -> Response:
    """202: the hold is taken, the images are made by whichever process has room."""
    asked = asked_of(request, f"{route}/async")
    wanted = with_own_key(request, principal, wanted)
    base = link_base(request)
    generation = await accepting.accept(services, principal, wanted, asked, Listener(request), base)
    poll_url = f"{base}/v1/images/generations/{generation.public_id}"
    headers = {
        "Location": poll_url,
        "Retry-After": str(POLL_S),
        "Preference-Applied": "respond-async",
        "x-imagegate-generation-id": generation.public_id,
        **({"idempotent-replayed": "true"} if generation.replayed else {}),
    }
    return JSONResponse(job_object(services, generation) | {"poll_url": poll_url}, 202, headers=headers)


def job_object(services: Services, generation: Generation) -> dict[str, Any]:
    """What there is to tell before there are images. expires_at: until then it waits for its turn."""
    created_at = int(generation.created_at.timestamp())
    return {
        "id": generation.public_id,
        "object": "image.generation",
        "status": generation.status,
        "created_at": created_at,
        "expires_at": created_at + int(services.settings.job_expires_s),
    }


@router.post(
    "/v1/images/generations/{generation_id}/cancel", openapi_extra=SECURED, summary="Cancel an async job"
)
async def cancel(request: Request) -> Response:
    """End a job that has not begun; nothing is charged. 409 `not_cancellable` once it has."""
    services = services_of(request)
    principal = await authenticate(request)
    generation = await accepting.cancel(services, principal, request.path_params["generation_id"])
    return JSONResponse(
        reply.generation_object(generation, mint_links(request, generation), services.settings)
    )


def later(name: str, handler: Handler, described: Mapping[str, Any]) -> APIRouter:
    """The addresses under which the bodies of `/v1/images/{name}` are answered with 202."""
    routes = APIRouter(tags=["images"])
    for path in (f"/v1/images/{name}/async", f"/v1/async/images/{name}"):
        routes.add_api_route(
            path,
            handler,
            methods=["POST"],
            status_code=202,
            summary=f"Queue an async job ({name})",
            description=f"Takes what `/v1/images/{name}` takes, and answers 202 with a `poll_url`.",
            openapi_extra={**SECURED, "requestBody": described["requestBody"]},
        )
    return routes
