"""What the adapters share whose providers answer like OpenAI, but say in a sentence only why they do not.

A sentence is read for its reason and never shown: it may quote the prompt.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from imagegate.domain import ProviderImage
from imagegate.outbound import Answer
from imagegate.providers import openai_wire as wire

REFUSED = "content_policy_violation"
NO_MONEY = "insufficient_quota"
NO_MODEL = "model_not_found"
BAD_KEY = "invalid_api_key"
REFUSING_STATUSES = (200, 400, 403, 422)
MADE = re.compile(r"(generated|output) (image|content)|images? (was|were|has|have) ", re.IGNORECASE)
DATA_URL = re.compile(rb"data:[^,]{0,80};base64,", re.IGNORECASE)
HIGHEST_USD = 100_000
"""No call costs more: what is above is no charge."""

Signs = Mapping[str, re.Pattern[str]]
"""By REFUSED, NO_MONEY, NO_MODEL or BAD_KEY: how the provider's sentences say so. The first that fits counts."""


def understood(complaint: wire.Complaint, said: object, signs: Signs, answer: Answer) -> wire.Complaint:
    """The complaint with the code that its sentence stands for; as it is where the sentence says nothing."""
    if not isinstance(said, str):
        return complaint
    for code, sign in signs.items():
        if sign.search(said) and (code != REFUSED or answer.status in REFUSING_STATUSES):
            stage = "output" if code == REFUSED and MADE.search(said) else complaint.stage
            return replace(complaint, code=code, stage=stage)
    return complaint


def sentence_of(body: Any) -> object:
    """The message of `{"error": {…}}`."""
    error = body.get("error") if isinstance(body, dict) else None
    return error.get("message") if isinstance(error, dict) else None


def image_of(entry: Mapping[str, Any]) -> ProviderImage | None:
    """The image of an entry of `data`: base64, which may come as a data URL, else a link; None when it has neither."""
    revised = wire.text_of(entry, "revised_prompt")
    if b64 := without_prefix(wire.b64_of(entry)):
        return ProviderImage(b64=b64, revised_prompt=revised)
    url = wire.text_of(entry, "url")
    return ProviderImage(url=url, revised_prompt=revised) if url else None


def without_prefix(b64: str | memoryview | None) -> str | memoryview | None:
    if b64 is None:
        return None
    head = b64[:128].encode(errors="replace") if isinstance(b64, str) else bytes(b64[:128])
    prefix = DATA_URL.match(head)
    return b64[prefix.end() :] if prefix else b64


def money_of(count: object, unit_usd: Decimal) -> Decimal | None:
    """A charge in USD from a provider's count of its own units; None for what is no count."""
    if isinstance(count, bool) or not isinstance(count, int | float):
        return None
    usd = Decimal(str(count)) * unit_usd
    return usd.normalize() if usd.is_finite() and 0 <= usd <= HIGHEST_USD else None
