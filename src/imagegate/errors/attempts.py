"""How one call to one provider failed. Never reaches a caller as it is."""

from typing import Any

from imagegate.errors.base import ImagegateError


class AttemptFailed(ImagegateError):
    """One attempt ended without an image. `detail` continues the sentence that the provider's name begins."""

    outcome = "AMBIGUOUS"

    def __init__(
        self,
        provider: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        upstream_id: str | None = None,
    ) -> None:
        super().__init__(f"{provider} {detail}")
        self.provider = provider
        self.detail = detail
        self.wait_s = retry_after_s
        self.upstream_id = upstream_id


class NotSent(AttemptFailed):
    outcome = "NOT_SENT"


class Crowded(NotSent):
    """This process has as many calls at the provider as it may."""


class RefusedUnbilled(AttemptFailed):
    """`busy`: the same candidate may be asked again (429, 503); otherwise only another one can help.

    `at_risk`: the provider failed in its own error shape, yet may have billed (500, 502).
    `bad_key`: our key is at fault, being unknown, revoked or without credit: another key of ours may do.
    """

    outcome = "REFUSED_UNBILLED"

    def __init__(
        self,
        provider: str,
        detail: str,
        *,
        busy: bool = False,
        at_risk: bool = False,
        bad_key: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(provider, detail, **more)
        self.busy = busy
        self.at_risk = at_risk
        self.bad_key = bad_key


class BilledInvalid(AttemptFailed):
    outcome = "BILLED_INVALID"


class Ambiguous(AttemptFailed):
    outcome = "AMBIGUOUS"
