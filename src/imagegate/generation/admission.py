"""Decides whether a planned request may go on: how much is in flight, the caller's limits, and what moderation says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from imagegate.domain import GenerationRequest, Plan, Principal
from imagegate.errors import BillingUnavailable, CallerError, Overloaded
from imagegate.generation.inputs import gather
from imagegate.generation.moderating import check_input, policy_of
from imagegate.identity.limits import NOTHING, Taken, wants_of
from imagegate.moderation.verdicts import Verdict
from imagegate.services import Services

AFTER_DEADLINE_S = 15.0
"""A slot ends by itself so long after the deadline: a generation may still be settled then."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request took of its caller's limits. Every admission is left once: `leave`, or `inside`.

    request: as it goes on, its pictures with their bytes. verdict: moderation's; None when nobody was asked.
    """

    images: int
    request: GenerationRequest
    taken: Taken = NOTHING
    verdict: Verdict | None = None


def check_room(services: Services) -> None:
    """Raises Overloaded."""
    if len(services.supervisor) >= services.settings.max_in_flight:
        raise Overloaded("This gateway is working on as many generations as it takes. Try again in a moment.")


async def enter(
    services: Services, principal: Principal, request: GenerationRequest, plan: Plan, *, slot: bool = True
) -> Admission:
    """Take a request, its images and a slot, fetch its pictures, then ask moderation. No wallet is touched yet.

    slot: whether it counts among those that run at once; a job does not, since it waits for its turn.

    Raises Overloaded, RateLimited, ConcurrencyLimited, InvalidRequest (a picture), ContentRejected,
    ModerationUnavailable. After any of them, and after a cancel, images and slot are free again; the request still
    counts.
    """
    check_room(services)
    images = plan.quote.n
    admission = Admission(images, request)
    if wants := wants_of(principal, images, slot=slot):
        lease_s = services.settings.deadline_s + AFTER_DEADLINE_S
        admission = Admission(images, request, await services.limiter.take(wants, lease_s))
    try:
        request = await gather(services, principal, request)
        policy = policy_of(services, principal)
        verdict = None if policy == "off" else await check_input(services, principal, request, policy)
    except BaseException:
        await leave(services, admission, images_back=True)
        raise
    if verdict is None and request is admission.request:
        return admission
    return replace(admission, request=request, verdict=verdict)


async def count(services: Services, principal: Principal) -> Taken:
    """Count a request that makes no image, like a dry run. Raises RateLimited."""
    wants = wants_of(principal, 0, slot=False)
    return await services.limiter.take(wants, 1.0) if wants else NOTHING


async def leave(services: Services, admission: Admission, *, images_back: bool) -> None:
    """Give the slot back, and the images too where none were asked for. Does not raise; at most half a second."""
    if admission.taken.wants:
        images = admission.images if images_back else 0
        await services.limiter.give_back(admission.taken, images=images)


@asynccontextmanager
async def inside(services: Services, admission: Admission) -> AsyncIterator[None]:
    """Around everything after `enter`, inside the task that does it: gives back what its end says."""
    try:
        yield
    except BaseException as error:
        await leave(services, admission, images_back=is_refusal(error))
        raise
    await leave(services, admission, images_back=False)


def is_refusal(error: BaseException) -> bool:
    """Nothing was made and nobody failed: an empty wallet, moderation, a request that a provider finds invalid."""
    return isinstance(error, CallerError | Overloaded | BillingUnavailable)
