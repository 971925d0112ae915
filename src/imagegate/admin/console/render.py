"""Pages as HTML: the templates, the words that numbers are written in, and the headers that every page has."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from imagegate.settings import Settings

HERE = Path(__file__).parent
CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "content-security-policy": CSP,
    "referrer-policy": "same-origin",  # with none at all a browser would not say where a form comes from
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@cache
def environment() -> Environment:
    """Everything that is put into a page is escaped; a name that is not there is an error."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "money": money,
        "short": short,
        "moment": moment,
        "ago": ago,
        "seconds": seconds,
        "percent": percent,
        "usd": usd,
        "pretty": pretty,
    }
    return made


def html(template: str, context: dict[str, Any], status: int = 200) -> Response:
    text = environment().get_template(template).render(context)
    return HTMLResponse(text, status, headers=HEADERS)


def number(value: float | None) -> str:
    """1234567 → 1,234,567."""
    return "–" if value is None else f"{value:,}"


def money(tokens: int, settings: Settings) -> str:
    """What tokens are worth: `1,204.50 USD`, and below one unit to four decimals: `0.0132 USD`."""
    exact = Decimal(tokens) / settings.tokens_per_currency_unit
    if abs(exact) >= 1:
        return f"{exact:,.2f} {settings.currency}"
    decimals = f"{exact:.4f}"
    return f"{decimals[:-2]}{decimals[-2:].rstrip('0')} {settings.currency}"


def short(id_: str | None) -> str:
    """`gen_0190f3a2…7c1d`: what is needed to tell one from another."""
    if not id_:
        return "–"
    kind, _, digits = id_.partition("_")
    return f"{kind}_…{digits[-8:]}" if len(digits) == 32 else id_


def moment(text: str | None) -> str:
    """RFC 3339 → `2026-11-21 23:05:12`, UTC."""
    if not text:
        return "–"
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(text: str | None) -> str:
    if not text:
        return "–"
    s = max((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds(), 0)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if s >= size:
            return f"{int(s // size)} {unit} ago"
    return "just now" if s < 5 else f"{int(s)} s ago"


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def percent(share: float | None) -> str:
    """0.987 → 98.7 %."""
    return "–" if share is None else f"{share * 100:.1f} %"


def usd(text: str | None) -> str:
    """Decimal text, cut to what is worth reading."""
    if text is None:
        return "–"
    value = Decimal(text)
    return f"${value:,.2f}" if value >= 10 or value == 0 else f"${value.quantize(Decimal('0.0001')):f}"


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
