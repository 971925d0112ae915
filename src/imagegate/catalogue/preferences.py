"""Preferences: the rank and weight that an operator gives an offering of a model, or a model among models.

They go before the catalogue's own. In memory here; as rows in `preference_rows`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

BEST_RANK, WORST_RANK = 1, 10_000
MOST_WEIGHT = 10_000


@dataclass(frozen=True, slots=True)
class Preference:
    """provider: empty = of the model itself. rank, weight: None = the catalogue's counts."""

    model: str
    provider: str
    rank: int | None
    weight: int | None
    reason: str
    actor: str
    at: datetime


class PreferenceBook:
    """The preferences in force, in memory. Whoever holds it brings it up to date with `replace`."""

    def __init__(self, preferences: Iterable[Preference] = ()) -> None:
        self.replace(preferences)

    def replace(self, preferences: Iterable[Preference]) -> None:
        self._known = {(known.model, known.provider): known for known in preferences}

    def find(self, model_id: str, provider: str = "") -> Preference | None:
        """What was said of an offering, or without a provider of the model itself."""
        return self._known.get((model_id, provider))

    @property
    def preferences(self) -> list[Preference]:
        """All of them, by model and provider."""
        return [self._known[place] for place in sorted(self._known)]
