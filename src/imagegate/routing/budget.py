"""How often a provider may be asked a second time for the same images. Pure: the moment is told by the caller.

When a provider is in trouble every request would ask it twice; so second attempts are a share of the first ones.
"""

from dataclasses import dataclass

SHARE = 0.2
"""Second attempts for each first attempt."""
FLOOR_PER_MIN = 10.0
"""Second attempts that are allowed however few first ones there are."""
MOST_SAVED = 20.0


@dataclass(slots=True)
class RetryBudget:
    """`left` whole second attempts are allowed; it never exceeds MOST_SAVED."""

    left: float = MOST_SAVED
    at: float = 0.0

    def first(self) -> None:
        """A first attempt was sent."""
        self.left = min(self.left + SHARE, MOST_SAVED)

    def spend(self, now: float) -> bool:
        """Take one second attempt. False: none is left, and nothing was taken."""
        if self.now_left(now) < 1:
            return False
        self.left -= 1
        return True

    def now_left(self, now: float) -> float:
        self.left = min(self.left + max(now - self.at, 0.0) * FLOOR_PER_MIN / 60, MOST_SAVED)
        self.at = now
        return self.left
