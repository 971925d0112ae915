"""The routes of OpenAI's dialect: read, call the line, write."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate import failpoints
from imagegate.dialects.openai import listing, models, reply
from imagegate.dialects.openai.body import GenerationBody, read_generation
from imagegate.generation import pipeline, records
from imagegate.web.dependencies import asked_of, authenticate, services_of
from imagegate.web.guards import read_json_object
from imagegate.web.listener import Listener
from imagegate.web.media import mint_links
from imagegate.web.process import Handler

router = APIRouter(tags=["images"])
router.include_router(listing.router)

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": GenerationBody.model_json_schema()}},
    },
    "security": [{"bearer": []}],
}
SECURED: dict[str, Any] = {"security": [{"bearer": []}]}


@router.post("/v1/images/generations", openapi_extra=BODY, summary="Make images")
async def create(request: Request) -> Response:
    """Make images. The wallet is debited only for the images in the reply."""
    services = services_of(request)
    principal = await authenticate(request)
    wanted = read_generation(await read_json_object(request, services.settings))
    asked = asked_of(request, "images/generations")
    generation = await pipeline.generate(services, principal, wanted, asked, Listener(request))
    urls = mint_links(request, generation) if reply.wants(generation)[0] else []
    failpoints.reach(services.settings, "before_answer")
    return reply.generation_reply(generation, urls, services.settings)


@router.get("/v1/images/generations/{generation_id}", openapi_extra=SECURED, summary="Fetch a generation")
async def fetch(request: Request) -> Response:
    """A generation of this account and environment, with fresh links to its images."""
    services = services_of(request)
    principal = await authenticate(request)
    async with services.engine.connect() as connection:
        generation = await records.get_generation(connection, principal, request.path_params["generation_id"])
    return JSONResponse(
        reply.generation_object(generation, mint_links(request, generation), services.settings)
    )


@router.get("/v1/models", summary="List the models")
async def list_models(request: Request) -> Response:
    """Every model that is not disabled, with sizes and prices. Needs no key; with one, `available` is this key's."""
    env = await _env(request)
    services = services_of(request)
    listed = [models.model_object(services, model, env) for model in services.catalogue.listed()]
    return JSONResponse({"object": "list", "data": listed})


@router.get("/v1/models/{model_id:path}", summary="Describe a model")
async def get_model(request: Request) -> Response:
    """One model, by any of its names."""
    env = await _env(request)
    services = services_of(request)
    model = services.catalogue.find(request.path_params["model_id"]).model
    return JSONResponse(models.model_object(services, model, env))


async def _env(request: Request) -> str:
    sent = ("authorization", "x-api-key", "api-key")
    if any(request.headers.get(name) for name in sent):
        return (await authenticate(request)).env
    return "live"


HOT: dict[tuple[str, str], Handler] = {("POST", "/v1/images/generations"): create}
