"""What OpenAI's routes that make images share: the answer, or the estimate."""

from starlette.requests import Request
from starlette.responses import Response

from imagegate.dialects.openai import reply
from imagegate.dialects.openai.streaming import stream
from imagegate.domain import GenerationRequest, Principal
from imagegate.services import Services
from imagegate.web.drawing import draw
from imagegate.web.estimate import estimate_reply, is_dry
from imagegate.web.media import mint_links


async def answer(
    request: Request, services: Services, principal: Principal, wanted: GenerationRequest, route: str
) -> Response:
    """Make the images and tell of them, or say what they would cost. `route`: one for all addresses of a route."""
    if is_dry(request):
        return await estimate_reply(request, services, principal, wanted)
    if wanted.stream:
        return await stream(request, services, principal, wanted, route)
    generation = await draw(request, services, principal, wanted, route)
    urls = mint_links(request, generation) if reply.wants(generation)[0] else []
    return reply.generation_reply(generation, urls, services.settings)
