"""Callers with limits, each new, and what one request of theirs wants."""

from uuid import UUID, uuid4

from imagegate.domain import Principal, RateLimits
from imagegate.identity.limits import Want, wants_of


def caller(
    key: RateLimits | None = None, account: RateLimits | None = None, account_id: UUID | None = None
) -> Principal:
    limits = tuple(limits for limits in (account, key) if limits is not None)
    return Principal(account_id or uuid4(), "live", uuid4(), limits=limits)


def key(requests: int | None = None, images: int | None = None, concurrent: int | None = None) -> RateLimits:
    return RateLimits("key", requests, images, concurrent)


def account(
    requests: int | None = None, images: int | None = None, concurrent: int | None = None
) -> RateLimits:
    return RateLimits("account", requests, images, concurrent)


def one(principal: Principal, images: int = 1) -> tuple[Want, ...]:
    return wants_of(principal, images)
