"""Behaviour that a prompt asks for in tags such as `[[fail:503]]`, read by the sandbox alone."""

import re
from dataclasses import dataclass, replace

from imagegate.errors import Ambiguous, AttemptFailed, ProviderRejected, RefusedUnbilled

NAME = "sandbox"

TAG = re.compile(
    r"\[\[(?:slow:(?P<slow>\d{1,4}(?:\.\d{1,3})?)|fail:(?P<fail>[45]\d\d)|partial:(?P<partial>\d{1,3})"
    r"|(?P<ending>refuse|empty|garbage|ambiguous|hang))\]\]",
    re.ASCII,
)

BUSY = (429, 503, 529)
INVALID = (400, 413, 415, 422)
CRASHED = (500, 502)


@dataclass(frozen=True, slots=True)
class Script:
    """A prompt without its tags, and what they say. Of two tags of a kind the first counts."""

    prompt: str
    slow_s: float = 0.0
    fail: int | None = None
    partial: int | None = None
    ending: str | None = None


def read_script(prompt: str) -> Script:
    """What does not look exactly like a tag is text."""
    script = Script(prompt)
    for tag in TAG.finditer(prompt):
        if tag["slow"] and not script.slow_s:
            script = replace(script, slow_s=float(tag["slow"]))
        elif tag["partial"] and script.partial is None:
            script = replace(script, partial=int(tag["partial"]))
        elif tag["fail"] and script.fail is None:
            script = replace(script, fail=int(tag["fail"]))
        elif tag["ending"] and script.ending is None:
            script = replace(script, ending=tag["ending"])
    return (
        script
        if TAG.search(prompt) is None
        else replace(script, prompt=" ".join(TAG.sub(" ", prompt).split()))
    )


def failure_for(status: int) -> ProviderRejected | AttemptFailed:
    """The class of a complete answer with this status in the provider's own error shape."""
    if status in INVALID:
        return ProviderRejected(NAME, f"answered {status}, as the prompt asked")
    detail = f"answered {status}, as the prompt asked"
    if status in BUSY:
        return RefusedUnbilled(NAME, detail, busy=True)
    if status in CRASHED:
        return RefusedUnbilled(NAME, detail, at_risk=True)
    return RefusedUnbilled(NAME, detail) if status < 500 else Ambiguous(NAME, detail)
