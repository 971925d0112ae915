"""What is told to Prometheus, in its text format: what this process counts, and what is read as somebody looks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from imagegate.telemetry.counts import Counts

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read as somebody looks. None: unknown, and then left out; the ledger's, when it cannot be read."""

    in_flight: int
    requests_waiting: int | None = None
    journal_waiting: int | None = None
    limiter_fallbacks: int | None = None
    database_up: bool = False
    ledger_imbalances: int | None = None
    open_holds: int | None = None
    oldest_open_hold_s: float | None = None
    jobs_waiting: int | None = None
    oldest_job_s: float | None = None
    webhooks_waiting: int | None = None
    oldest_webhook_s: float | None = None
    picture_processes: int | None = None
    log_lines_dropped: int | None = None
    proof_violations: int | None = None
    proof_at_s: float | None = None
    offerings: Sequence["OfferingReading"] = ()
    moderated: Mapping[tuple[str, str], int] | None = None
    """How often moderation said what, by stage and verdict."""
    counts: Counts | None = None
    held_bytes: int | None = None
    answers_bytes: int | None = None
    shed: Mapping[str, int] | None = None
    """Requests for images refused before they were read or held, by reason."""


@dataclass(frozen=True, slots=True)
class OfferingReading:
    """How an offering of the catalogue does. open: 0 asked like any other, 1 resting, 0.5 tried by one call."""

    provider: str
    offering: str
    open: float
    p50_s: float | None
    calls: int
    failures: int
    retries_left: int


OFFERING_GAUGES = (
    ("imagegate_offering_open", "0: asked like any other; 1: resting; 0.5: tried by one call.", "open"),
    ("imagegate_offering_p50_seconds", "Median of the latest successful calls.", "p50_s"),
    ("imagegate_offering_calls", "Calls sent within the window of its breaker, five minutes.", "calls"),
    ("imagegate_offering_failures", "Those that ended in failure within that window.", "failures"),
    (
        "imagegate_offering_retries_left",
        "Second attempts that the retry budget of its provider allows.",
        "retries_left",
    ),
)

GAUGES = (
    ("imagegate_generations_in_flight", "Generations this process works on.", "in_flight"),
    (
        "imagegate_requests_waiting",
        "Requests for images that wait for their turn to begin.",
        "requests_waiting",
    ),
    ("imagegate_journal_waiting", "Items that wait for the journal's next batch.", "journal_waiting"),
    ("imagegate_database_up", "1 when the database answered the last look.", "database_up"),
    (
        "imagegate_ledger_imbalances",
        "Wallets whose held tokens are not the holds of their open generations. Anything but 0 is a bug.",
        "ledger_imbalances",
    ),
    ("imagegate_open_holds", "Generations of all processes that hold tokens.", "open_holds"),
    (
        "imagegate_oldest_open_hold_seconds",
        "Age of the oldest hold that somebody works on, of all processes; 0 when there is none.",
        "oldest_open_hold_s",
    ),
    (
        "imagegate_held_bytes",
        "Of the budget for bodies and pictures of callers, what is held now.",
        "held_bytes",
    ),
    (
        "imagegate_provider_answers_bytes",
        "Of long answers of providers, what was read and is not stored yet.",
        "answers_bytes",
    ),
    ("imagegate_jobs_waiting", "Async jobs that nobody works on yet.", "jobs_waiting"),
    (
        "imagegate_oldest_job_seconds",
        "How long the oldest of them has waited; 0 when there is none.",
        "oldest_job_s",
    ),
    ("imagegate_webhooks_waiting", "Events that no receiver has taken yet.", "webhooks_waiting"),
    (
        "imagegate_oldest_webhook_seconds",
        "How long the oldest of them has waited; 0 when there is none.",
        "oldest_webhook_s",
    ),
    (
        "imagegate_picture_processes",
        "Child processes that decode what strangers sent.",
        "picture_processes",
    ),
    (
        "imagegate_ledger_violations",
        "Rows that the last `imagegate ledger verify` found to break an invariant.",
        "proof_violations",
    ),
    (
        "imagegate_ledger_verified_timestamp_seconds",
        "When that was, in seconds since 1970.",
        "proof_at_s",
    ),
)

COUNTERS = (
    (
        "imagegate_limiter_fallbacks",
        "Requests whose limits were kept by this process alone, since Redis was away.",
        "limiter_fallbacks",
    ),
    ("imagegate_log_lines_dropped", "Log lines that nobody took in time.", "log_lines_dropped"),
)


class Telemetry:
    """The counters of one process. Made by the app, handed to whoever counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "imagegate_requests",
            "Answers by method, route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._known: dict[tuple[str, str, int], Counter] = {}

    def count_request(self, method: str, route: str, status: int) -> None:
        """One answer. `route` is a template with its braces, never a path with somebody's id in it."""
        counter = self._known.get((method, route, status))
        if counter is None:
            labels = (method if method in METHODS else "other", route, str(status))
            counter = self._requests.labels(*labels)
            if labels[0] == method:
                self._known[(method, route, status)] = counter
        counter.inc()

    def render(self, reading: Reading) -> bytes:
        """Everything in Prometheus' text format."""
        read = CollectorRegistry()
        read.register(Read(reading))
        return generate_latest(self._registry) + generate_latest(read)


class Read(Collector):
    """A reading as metrics."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        for name, about, field in GAUGES:
            value = getattr(self._reading, field)
            if value is not None:
                yield GaugeMetricFamily(name, about, value=value)
        for name, about, field in OFFERING_GAUGES:
            family = GaugeMetricFamily(name, about, labels=("provider", "offering"))
            for offering in self._reading.offerings:
                value = getattr(offering, field)
                if value is not None:
                    family.add_metric((offering.provider, offering.offering), value)
            yield family
        said = "What moderation said, by stage and verdict."
        moderation = CounterMetricFamily("imagegate_moderation", said, labels=("stage", "verdict"))
        for labels, times in sorted((self._reading.moderated or {}).items()):
            moderation.add_metric(labels, times)
        yield moderation
        shed = CounterMetricFamily(
            "imagegate_shed", "Requests refused since this process has enough to do.", labels=("reason",)
        )
        for reason, times in sorted((self._reading.shed or {}).items()):
            shed.add_metric((reason,), times)
        yield shed
        for name, about, field in COUNTERS:
            value = getattr(self._reading, field)
            if value is not None:
                yield CounterMetricFamily(name, about, value=value)
        if self._reading.counts is not None:
            yield from self._reading.counts.metrics()
