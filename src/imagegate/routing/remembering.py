"""What of an offering's health outlives the process: whether it rests, until when, and its usual time."""

from collections.abc import Mapping
from typing import Any

from imagegate.routing.breaker import FIRST_COOL_DOWN_S, LONGEST_COOL_DOWN_S
from imagegate.routing.health import LONGEST_NOT_BEFORE_S, Health, Record


def remember(health: Health, record: Record) -> dict[str, Any]:
    """JSON values. Moments are seconds since 1970, since each process has a clock of its own."""
    ahead = health.wall() - health.clock()
    breaker = record.breaker
    return {
        "open_until": None if breaker.open_until is None else round(breaker.open_until + ahead, 3),
        "cool_down_s": breaker.cool_down_s,
        "not_before": round(record.not_before + ahead, 3) if record.not_before else None,
        "p50_s": record.p50_s,
    }


def recall(health: Health, record: Record, state: Mapping[str, Any]) -> None:
    """Make a fresh record what another process remembered. Moments are moved by chance, each process by its own.

    One whose cool-down is over meanwhile rests a little longer, so that all who start do not try it at once.
    """
    now, behind = health.clock(), health.clock() - health.wall()
    if record.rests and (until := number(state.get("open_until"))) is not None:
        cool_down_s = number(state.get("cool_down_s")) or FIRST_COOL_DOWN_S
        record.breaker.cool_down_s = min(max(cool_down_s, FIRST_COOL_DOWN_S), LONGEST_COOL_DOWN_S)
        left_s = min(max(until + behind - now, 0.0), LONGEST_COOL_DOWN_S)
        record.breaker.open_until = now + left_s + health.chance() * FIRST_COOL_DOWN_S
    if record.rests and (not_before := number(state.get("not_before"))) is not None:
        left_s = min(not_before + behind - now, LONGEST_NOT_BEFORE_S)
        record.not_before = now + left_s if left_s > 0 else 0.0
    if (p50_s := number(state.get("p50_s"))) is not None and p50_s >= 0:
        record.measured(p50_s)


def number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
