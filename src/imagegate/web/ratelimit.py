"""How a caller's limits stand, in headers: as OpenAI sends them, and as the IETF's draft names them.

OpenAI's `x-ratelimit-*` know one limit of a kind, so they show the one that is nearest to its end. `RateLimit` and
`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) show all of them.
"""

from collections.abc import Iterable

from imagegate.identity.limits import IMAGES, REQUESTS, SLOTS, Level, RateLimited

UNITS = {REQUESTS: "", IMAGES: ';qu="images"', SLOTS: ';qu="concurrent-requests"'}


def limit_headers(levels: Iterable[Level]) -> dict[str, str]:
    """`Taken.levels` in headers, names in small letters; none for a caller without limits."""
    levels = sorted(levels, key=lambda level: (level.remaining, -level.reset_ms))
    if not levels:
        return {}
    headers = {
        "ratelimit-policy": ", ".join(policy(level) for level in levels),
        "ratelimit": ", ".join(state(level) for level in levels),
    }
    for kind in (REQUESTS, IMAGES):
        nearest = next((level for level in levels if level.kind == kind), None)
        if nearest is not None:
            headers[f"x-ratelimit-limit-{kind}"] = str(nearest.limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(nearest.remaining)
            headers[f"x-ratelimit-reset-{kind}"] = duration(nearest.reset_ms)
    return headers


def refusal_headers(error: Exception) -> dict[str, str]:
    """The same of a refused request; none for other errors. Retry-After comes with every error that has one."""
    return limit_headers(error.levels) if isinstance(error, RateLimited) else {}


def policy(level: Level) -> str:
    window = "" if level.kind == SLOTS else ";w=60"
    return f'"{level.scope}-{level.kind}";q={level.limit}{window}{UNITS[level.kind]}'


def state(level: Level) -> str:
    reset = "" if level.kind == SLOTS else f";t={-(-level.reset_ms // 1000)}"
    return f'"{level.scope}-{level.kind}";r={level.remaining}{reset}'


def duration(ms: int) -> str:
    """`12ms`, `8.64s`, `1m0s`."""
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest_ms = divmod(ms, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
