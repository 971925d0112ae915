"""What OpenAI's routes that make images share: the answer, or the estimate."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.openai import reply
from imagegate.dialects.openai.jobs import accept, is_async, without_webhook
from imagegate.dialects.openai.streaming import stream
from imagegate.domain import Generation, GenerationRequest, Principal
from imagegate.services import Services
from imagegate.web.estimate import estimate_reply, is_dry
from imagegate.web.keepalive import answered
from imagegate.web.media import mint_links


async def answer(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest, route: str
) -> Response:
    """Make the images and tell of them, now or later, or say what they would cost.

    `route`: one for all addresses of a route.
    """
    if is_dry(request):
        return await estimate_reply(request, services, principal, wanted)
    if is_async(request, wanted):
        return await accept(request, services, principal, wanted, route)
    if wanted.webhook_url is not None:
        wanted = without_webhook(wanted)
    if wanted.stream:
        return await stream(request, services, principal, wanted, route)
    return await answered(request, services, principal, wanted, route, partial(tell, request, services))


async def tell(request: Request, services: Services, generation: Generation) -> Response:
    urls = mint_links(request, generation) if reply.wants(generation)[0] else []
    return reply.generation_reply(generation, urls, services.settings)
