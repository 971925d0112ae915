"""Decides whether a planned request may go on: how much is in flight, and what moderation says."""

from imagegate.domain import GenerationRequest
from imagegate.errors import Overloaded
from imagegate.services import Services


def admit(services: Services, request: GenerationRequest) -> None:
    """Raises Overloaded, ContentRejected. Nothing is held yet."""
    if len(services.supervisor) >= services.settings.max_in_flight:
        raise Overloaded("This gateway is working on as many generations as it takes. Try again in a moment.")
    services.blocklist.check(request.prompt)
