"""Decides whether a planned request may go on: how much is in flight, the caller's limits, and what moderation says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from imagegate.domain import GenerationRequest, Plan, Principal
from imagegate.errors import BillingUnavailable, CallerError, Overloaded
from imagegate.generation.inputs import gather
from imagegate.generation.moderating import check_input, policy_of
from imagegate.identity.limits import NOTHING, RateLimited, Taken, wants_of
from imagegate.load import Lease, weight_of
from imagegate.moderation.verdicts import Verdict
from imagegate.services import Services

AFTER_DEADLINE_S = 15.0
"""A slot ends by itself so long after the deadline: a generation may still be settled then."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request took of its caller's limits and of this process. Every admission is left once.

    request: as it goes on, its pictures with their bytes. verdict: moderation's; None when nobody was asked.
    account: whose place in this process it has; None: it has none. lease: the bytes that its pictures hold.
    """

    images: int
    request: GenerationRequest
    taken: Taken = NOTHING
    verdict: Verdict | None = None
    account: UUID | None = None
    lease: Lease | None = None


async def enter(
    services: Services, principal: Principal, request: GenerationRequest, plan: Plan, *, slot: bool = True
) -> Admission:
    """Take a request, its images and a slot, fetch its pictures, then ask moderation. No wallet is touched yet.

    slot: whether it counts among those that run at once; a job does not, since it waits for its turn.

    Raises Overloaded, RateLimited, ConcurrencyLimited, InvalidRequest (a picture), ContentRejected,
    ModerationUnavailable. After any of them, and after a cancel, images and slot are free again; the request still
    counts.
    """
    services.load.enter(principal.account_id)
    images, taken, lease = plan.quote.n, NOTHING, None
    try:
        if wants := wants_of(principal, images, slot=slot):
            lease_s = services.settings.deadline_s + AFTER_DEADLINE_S
            taken = await services.limiter.take(wants, lease_s)
    except BaseException as error:
        services.load.leave(principal.account_id)
        if isinstance(error, RateLimited):
            await services.load.refusals.pace(principal.account_id)
        raise
    if request.images:
        lease = services.load.lease(pictures_weight(request))
    admission = Admission(images, request, taken, account=principal.account_id, lease=lease)
    try:
        request = await gather(services, principal, request, lease=lease)
        policy = policy_of(services, principal)
        verdict = None if policy == "off" else await check_input(services, principal, request, policy)
    except BaseException:
        await leave(services, admission, images_back=True)
        raise
    if verdict is None and request is admission.request:
        return admission
    return replace(admission, request=request, verdict=verdict)


def pictures_weight(request: GenerationRequest) -> int:
    """What the pictures that it brings hold, in bytes."""
    pictures = (*request.images, *([request.mask] if request.mask else []))
    return weight_of(sum(len(picture.data or b"") for picture in pictures))


async def count(services: Services, principal: Principal) -> Taken:
    """Count a request that makes no image, like a dry run. Raises RateLimited."""
    wants = wants_of(principal, 0, slot=False)
    try:
        return await services.limiter.take(wants, 1.0) if wants else NOTHING
    except RateLimited:
        await services.load.refusals.pace(principal.account_id)
        raise


async def leave(services: Services, admission: Admission, *, images_back: bool) -> None:
    """Give place and slot back, and the images too where none were asked for. Does not raise; at most half a second."""
    free(services, admission)
    if admission.taken.wants:
        images = admission.images if images_back else 0
        await services.limiter.give_back(admission.taken, images=images)


def free(services: Services, admission: Admission) -> None:
    """All that a caller without limits has taken: its place in this process."""
    if admission.account is not None:
        services.load.leave(admission.account)
    if admission.lease is not None:
        admission.lease.end()


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
