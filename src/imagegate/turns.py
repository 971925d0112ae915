"""Who begins when: a few requests a turn of the event loop, one account after the other.

All that is ready runs in one turn of the loop. Were everybody let in who has come, a turn would be as long as all of
their work, and whoever came after, a ping or a refusal, would wait for it.
"""

import asyncio
from collections import OrderedDict, deque
from time import monotonic
from uuid import UUID

PER_TURN = 4
"""Beginners in one turn of the loop. So many take some milliseconds until they wait for something else."""

Place = tuple[float, "asyncio.Future[None]"]


class Turns:
    """One per process. Nobody waits while fewer come than may begin."""

    def __init__(self) -> None:
        self._begun = 0
        self._held = False
        self._waiting: OrderedDict[UUID, deque[Place]] = OrderedDict()

    async def come(self, account: UUID) -> None:
        """Returns when it is the account's turn."""
        if self._begun < PER_TURN and not self._waiting and not self._held:
            self._begin()
            return
        place = (monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.setdefault(account, deque()).append(place)
        await place[1]

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def waited_s(self) -> float:
        """Since when the one who has waited longest does. 0: nobody waits."""
        if not self._waiting:
            return 0.0
        return monotonic() - min(places[0][0] for places in self._waiting.values())

    def hold(self, held: bool) -> None:
        """While it is so nobody begins: what comes next on the way is behind."""
        self._held = held
        if not held and self._waiting and self._begun == 0:
            self._next_turn()

    def _begin(self) -> None:
        if self._begun == 0:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._begun += 1

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < PER_TURN and not self._held:
            self._call_next()

    def _call_next(self) -> None:
        account, places = self._waiting.popitem(last=False)
        _, turn = places.popleft()
        if places:
            self._waiting[account] = places
        if not turn.done():  # whoever has given up is passed over
            turn.set_result(None)
            self._begin()


AT_ONCE = 50
PER_S = 50
LONGEST_S = 1.0
"""As long as `Retry-After` asks them to wait at least."""
FORGET_ABOVE = 1_000
"""Accounts. Those that have not been refused of late are forgotten then."""


class Refusals:
    """How soon an account is told that it is over its limit: at once, and later where it asks again and again.

    Who comes back as soon as it is refused, on a hundred connections, would otherwise keep a process busy with that.
    """

    def __init__(self) -> None:
        self._due: dict[UUID, float] = {}

    async def pace(self, account: UUID) -> None:
        """Before a refusal is told. AT_ONCE go out, then PER_S a second; none waits for longer than LONGEST_S."""
        now = monotonic()
        due = max(self._due.get(account, now), now)
        wait_s = due - now - AT_ONCE / PER_S
        if wait_s < LONGEST_S:
            self._due[account] = due + 1 / PER_S
        if len(self._due) > FORGET_ABOVE:
            self._due = {known: due for known, due in self._due.items() if due > now}
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, LONGEST_S))
