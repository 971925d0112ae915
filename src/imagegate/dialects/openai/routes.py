"""The routes of OpenAI's dialect: read, call the line, write."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.dialects.openai import edits, jobs, listing, models, reply, variations
from imagegate.dialects.openai.answering import answer
from imagegate.dialects.openai.body import GenerationBody, read_generation
from imagegate.dialects.openai.described import making
from imagegate.dialects.openai.parameters import parameters_object
from imagegate.generation import records
from imagegate.web.dependencies import authenticate, is_set, services_of
from imagegate.web.drawing import read_json
from imagegate.web.media import mint_links
from imagegate.web.process import Handler
from imagegate.web.queries import parameter

router = APIRouter(tags=["images"])
router.include_router(listing.router)
router.include_router(jobs.router)
router.include_router(edits.router)
router.include_router(variations.router)

SAID = {
    "model": "dall-e-3",
    "prompt": "A futuristic robot in a garden",
    "size": "1024x1024",
    "quality": "hd",
}
BODY = making(GenerationBody, SAID)
SCHEMA: dict[str, Any] = {
    "parameters": [parameter("schema", "true: with its parameters.", {"type": "boolean", "default": False})]
}
SECURED: dict[str, Any] = {"security": [{"bearer": []}]}


@router.post("/v1/images/generations", openapi_extra=BODY, summary="Make images")
async def create(request: Request) -> Response:
    """Make images. The wallet is debited only for the images in the reply."""
    services = services_of(request)
    principal = await authenticate(request)
    wanted = await read_json(request, services, read_generation)
    return await answer(request, services, principal, wanted, "images/generations")


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


@router.get("/v1/models", openapi_extra=SCHEMA, summary="List the models")
async def list_models(request: Request) -> Response:
    """Every model that is not disabled, with sizes and prices. Needs no key; with one, `available` is this key's.

    `schema=true` adds the parameters of each, as the route of one model does.
    """
    env = await _env(request)
    services = services_of(request)
    models_listed = list(services.catalogue.listed())
    listed = [models.model_object(services, model, env) for model in models_listed]
    if is_set(request, "schema"):
        for model, described in zip(models_listed, listed, strict=True):
            described["parameters"] = parameters_object(services, model, env)
            await asyncio.sleep(0)  # the first time each takes milliseconds, which others must not wait for
    return JSONResponse({"object": "list", "data": listed})


@router.get("/v1/models/{model_id:path}", openapi_extra=SCHEMA, summary="Describe a model")
async def get_model(request: Request) -> Response:
    """One model, by any of its names. `schema=true` adds its parameters and what becomes of each at its providers."""
    env = await _env(request)
    services = services_of(request)
    model = services.catalogue.find(request.path_params["model_id"]).model
    described = models.model_object(services, model, env)
    if is_set(request, "schema"):
        described["parameters"] = parameters_object(services, model, env)
    return JSONResponse(described)


async def _env(request: Request) -> str:
    sent = ("authorization", "x-api-key", "api-key")
    if any(request.headers.get(name) for name in sent):
        return (await authenticate(request)).env
    return "live"


router.include_router(jobs.later("generations", create, BODY))
router.include_router(jobs.later("edits", edits.edit, edits.BODY))
router.include_router(jobs.later("variations", variations.create_variation, variations.BODY))

HOT: dict[tuple[str, str], Handler] = {("POST", "/v1/images/generations"): create}
