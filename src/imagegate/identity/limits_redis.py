"""Limits that all workers share, through one script on Redis; counted in the process while Redis does not answer.

Redis that is down or slow never refuses a caller and never lets everything through: each worker then counts by
itself, with the limit divided by the number of live workers. Generations counted at one place are not known at the
other, so that right after a change of place up to one further limit of them may run.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import structlog
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from imagegate.errors import OperatorError
from imagegate.identity.limits import IMAGES, NOTHING, SLOTS, Taken, Want, level_of, refusal, share_of
from imagegate.identity.limits_lane import Lane, Script
from imagegate.identity.limits_local import LocalLimiter
from imagegate.identity.limits_scripts import GIVE_BACK, TAKE

log = structlog.get_logger()

TIMEOUT_S = 0.5
BEAT_S = 0.5
COUNT_EVERY_S = 5.0
CLOSE_S = 5.0
MOST_OWED = 10_000
FAILURES = (RedisError, OSError, TimeoutError)
TAKING, GIVING_BACK = Script.of(TAKE), Script.of(GIVE_BACK)

Clock = Callable[[], float]
Count = Callable[[], Awaitable[int]]


class RedisLimiter:
    """One script call a take. After a failure nobody waits for Redis until the background has reached it again.

    count_workers: how many processes share the limits. timeout_s: for one answer of Redis; nobody waits more than
    twice that. clock: seconds; None = the server's own, which is the same for all workers.
    """

    def __init__(self, lane: Lane, count_workers: Count, timeout_s: float, clock: Clock | None) -> None:
        self._lane = lane
        self._count_workers = count_workers
        self._timeout_s = timeout_s
        self._clock = clock
        self._local = LocalLimiter() if clock is None else LocalLimiter(clock)
        self._owed: deque[Taken] = deque(maxlen=MOST_OWED)
        self.down = False
        self.workers = 1
        self.fell_back = 0

    async def take(self, wants: Sequence[Want], lease_s: float) -> Taken:
        if not wants:
            return NOTHING
        if not self.down:
            taken = Taken(uuid4().hex, tuple(wants), (), shared=True)
            try:
                return await self._taken(taken, lease_s)
            except FAILURES as error:
                self._owe(taken, slot=True)  # it may have been counted
                self._fall(error)
            except asyncio.CancelledError:
                self._owe(taken, slot=True)
                raise
        self.fell_back += 1
        return await self._local.take([share_of(want, self.workers) for want in wants], lease_s)

    async def _taken(self, taken: Taken, lease_s: float) -> Taken:
        now_ms = "" if self._clock is None else int(self._clock() * 1000)
        arguments: list[str | int] = [now_ms, taken.lease, round(lease_s * 1000)]
        for want in taken.wants:
            arguments += (want.kind, want.limit, want.burst, want.cost)
        did, *used = await self._ask(TAKING, taken.wants, arguments)
        if not did:
            raise refusal(taken.wants, used)
        levels = tuple(level_of(want, after) for want, after in zip(taken.wants, used, strict=True))
        return Taken(taken.lease, taken.wants, levels, shared=True)

    async def give_back(self, taken: Taken, *, images: int = 0, slot: bool = True) -> None:
        if not taken.shared:
            await self._local.give_back(taken, images=images, slot=slot)
            return
        amounts = {IMAGES: images, SLOTS: 1 if slot else 0}
        wants = [want for want in taken.wants if amounts.get(want.kind)]
        if not wants:
            return
        if self.down:
            self._owe(taken, slot)
            return
        arguments: list[str | int] = [taken.lease]
        for want in wants:
            arguments += (want.kind, amounts[want.kind])
        try:
            await self._ask(GIVING_BACK, wants, arguments)
        except FAILURES as error:
            self._owe(taken, slot)
            self._fall(error)
        except asyncio.CancelledError:
            self._owe(taken, slot)
            raise

    def _owe(self, taken: Taken, slot: bool) -> None:
        """A slot is given back later, since it would last long. Images leak away within a minute."""
        if slot and taken.holds_slot:
            self._owed.append(taken)

    async def _ask(self, script: Script, wants: Sequence[Want], arguments: list[str | int]) -> Any:
        # The lane gives up first; this bounds a Redis that answers drop by drop.
        async with asyncio.timeout(2 * self._timeout_s):
            return await self._lane.call(script, [want.bucket for want in wants], arguments)

    def _fall(self, error: Exception) -> None:
        if not self.down:
            self.down = True
            reason = str(error) or type(error).__name__
            log.warning("limits_fell_back", error=reason[:200], workers=self.workers)

    async def mend(self) -> None:
        """Reach Redis again where it was lost, and give back the slots owed to it."""
        try:
            while self._owed:
                await self._release(self._owed.popleft())
            if self.down:
                await self._ask(GIVING_BACK, (), [""])
                self.down = False
                log.info("limits_shared_again")
        except FAILURES as error:
            self._fall(error)

    async def _release(self, taken: Taken) -> None:
        slots = [want for want in taken.wants if want.kind == SLOTS]
        try:
            await self._ask(GIVING_BACK, slots, [taken.lease, *(SLOTS, 1) * len(slots)])
        except BaseException:
            self._owed.append(taken)
            raise

    async def keep(self) -> None:
        """Mend and count the workers, for ever."""
        loop = asyncio.get_running_loop()
        count_at = loop.time()
        while True:
            await self.mend()
            if loop.time() >= count_at:
                count_at = loop.time() + COUNT_EVERY_S
                with suppress(Exception):  # no database: the last number stands
                    self.workers = max(1, await self._count_workers())
            await asyncio.sleep(BEAT_S)


@asynccontextmanager
async def open_shared(
    url: str, count_workers: Count, *, timeout_s: float = TIMEOUT_S, clock: Clock | None = None
) -> AsyncIterator[RedisLimiter]:
    """Redis need not be reachable yet. Raises OperatorError for a URL that is none."""
    async with aclosing(open_client(url, timeout_s)) as redis:
        lane = Lane(redis)
        limiter = RedisLimiter(lane, count_workers, timeout_s, clock)
        tasks = [asyncio.create_task(lane.run()), asyncio.create_task(limiter.keep())]
        try:
            yield limiter
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CLOSE_S)


CLUSTER = "+cluster"
"""In a URL's scheme: the server it names is one of a cluster, and tells of the others."""


def open_client(url: str, timeout_s: float) -> Redis | RedisCluster:
    """Connects when it is used. Raises OperatorError for a URL that is none."""
    # A script that ran unseen must not run twice, so the client repeats nothing.
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    scheme, _, place = url.partition("://")
    try:
        if scheme.endswith(CLUSTER):
            return RedisCluster.from_url(f"{scheme.removesuffix(CLUSTER)}://{place}", **options)
        return Redis.from_url(url, **options)
    except (ValueError, RedisError):
        raise OperatorError(
            "IMAGEGATE_REDIS_URL is not a Redis URL. Write redis://host:6379/0, rediss:// for TLS, "
            "redis+cluster:// or rediss+cluster:// for a cluster, or unix:///path/of/the.sock"
        ) from None
