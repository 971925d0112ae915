"""What generations came to, counted where they end: plain numbers, turned into metrics as somebody looks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from imagegate.domain import Attempt

UPSTREAM_S = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
OUTCOMES = (
    "completed",
    "refused",
    "failed",
    "cancelled",
    "replayed",
    "postponed",
    "expired",
    "recovered",
    "lost",
    "unsettled",
)
"""refused: the request was, by a moderator, a provider or for what it asks. postponed: a job that is put off.

recovered, lost: what became of a dead process's work. unsettled: the ledger was away; recovery ends it.
"""
ENVS = ("live", "test")


class Buckets:
    """A histogram of seconds. `bounds`: upper ends, the last one, without end, left out."""

    __slots__ = ("_bounds", "_counts", "_sum_s")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_s += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        family.add_metric(labels, buckets, self._sum_s)


class Counts:
    """Of one process, since it began. Only its event loop writes here; providers are those of the catalogue."""

    def __init__(self) -> None:
        self._generations: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._cost_usd: dict[str, Decimal] = {}
        self._upstream: dict[str, Buckets] = {}
        self.lag = Buckets(LAG_S)
        """How late the event loop wakes whoever asked for it."""

    def attempted(self, attempt: Attempt) -> None:
        """A call to a provider that is over."""
        known = self._upstream.get(attempt.provider)
        if known is None:
            known = self._upstream[attempt.provider] = Buckets(UPSTREAM_S)
        known.observe(attempt.ms / 1000)
        self.delivered(attempt)

    def delivered(self, attempt: Attempt) -> None:
        """The same, of work that is taken up again and whose time nobody knows."""
        self._images[attempt.provider] += attempt.images
        if attempt.cost_usd is not None:
            spent = self._cost_usd.get(attempt.provider)
            self._cost_usd[attempt.provider] = attempt.cost_usd if spent is None else spent + attempt.cost_usd

    def ended(self, outcome: str, env: str, charged_tokens: int = 0) -> None:
        self._generations[outcome] += 1
        self._tokens[env] += charged_tokens

    def metrics(self) -> Iterator[Metric]:
        yield family(
            "imagegate_generations", "Generations by how they ended.", "outcome", OUTCOMES, self._generations
        )
        yield family(
            "imagegate_charged_tokens", "Tokens that wallets were debited with.", "env", ENVS, self._tokens
        )
        providers = sorted(self._upstream.keys() | self._images.keys())
        yield family(
            "imagegate_images", "Images delivered, by provider.", "provider", providers, self._images
        )
        cost = CounterMetricFamily(
            "imagegate_provider_cost_usd",
            "What providers charge us, where it is known.",
            labels=("provider",),
        )
        for provider in sorted(self._cost_usd):
            cost.add_metric((provider,), float(self._cost_usd[provider]))
        yield cost
        upstream = HistogramMetricFamily(
            "imagegate_upstream_seconds",
            "Calls to providers, from the question until the images are stored.",
            labels=("provider",),
        )
        for provider in sorted(self._upstream):
            self._upstream[provider].add_to(upstream, (provider,))
        yield upstream
        lag = HistogramMetricFamily(
            "imagegate_event_loop_lag_seconds", "How late the event loop wakes whoever sleeps.", labels=()
        )
        self.lag.add_to(lag, ())
        yield lag


def family(
    name: str, about: str, label: str, values: Sequence[str], counted: Counter[str]
) -> CounterMetricFamily:
    made = CounterMetricFamily(name, about, labels=(label,))
    for value in values:
        made.add_metric((value,), counted[value])
    return made
