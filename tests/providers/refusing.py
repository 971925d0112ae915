"""A door that refuses every call and keeps what was asked: for tests that look at requests alone."""

from dataclasses import dataclass, field

import httpx

from imagegate.outbound import Outbound


@dataclass(frozen=True)
class Refusing:
    """asked: the requests so far, oldest first; a test clears it."""

    outbound: Outbound
    asked: list[httpx.Request] = field(default_factory=list)
