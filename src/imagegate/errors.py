"""Every error a caller or an operator can meet, with the status and code it carries over HTTP.

ImagegateError
├── CallerError                    the request is at fault; nothing was spent
│   ├── InvalidRequest             400 with `code` and `param`
│   │   └── ProviderRejected       400, a provider found the request invalid (class REJECTED)
│   ├── Unauthenticated            401
│   ├── InsufficientFunds          402
│   ├── BudgetExceeded             429
│   ├── NotFound                   404
│   │   └── UnknownModel           404 `model_not_found`
│   ├── MethodNotAllowed           405
│   ├── RequestTimeout             408
│   ├── Conflict                   409, 422 or 410: what the idempotency key or the result says
│   ├── TooLarge                   413
│   ├── UnsupportedMedia           415
│   ├── InvalidSignature           403, a media link that is bad, moved or expired
│   └── ContentRejected            400, moderation refused (as an attempt: class REJECTED)
├── Unavailable                    503, try again later
│   ├── Unpriced                   503 `model_not_priced`, trying again does not help
│   ├── NoProvider                 503 `no_provider_configured`, trying again does not help
│   ├── BillingUnavailable         503, the ledger cannot be reached
│   ├── SettlementPending          503, the image exists, its capture is under way
│   ├── StorageUnavailable         503, the image store cannot be written
│   └── Overloaded                 503, shed
├── GenerationFailed
│   ├── AllProvidersFailed         502, every candidate refused, each attempt named
│   └── UpstreamTimeout            504, it cannot be known whether the provider made the image
├── AttemptFailed                  one call to one provider; never reaches a caller as it is
│   ├── NotSent                    no byte of the request left: the next candidate may try
│   ├── RefusedUnbilled            refused and certainly not billed: the next candidate may try
│   ├── BilledInvalid              answered 200 without a usable image
│   └── Ambiguous                  it may have been made and billed: nobody else may try
└── OperatorError                  the CLI prints it: what, why, and the next command
"""

from typing import Any


class ImagegateError(Exception):
    """The root. `message` is for the caller: no keys, prompts or upstream bodies in it."""

    status = 500
    type = "server_error"
    code = "internal_error"
    should_retry = False
    param: str | None = None
    retry_after_s: int | None = None
    allow: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CallerError(ImagegateError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class InvalidRequest(CallerError):
    """`code` is one of the codes of the error catalogue, `param` the field at fault."""

    def __init__(self, message: str, *, code: str = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class ProviderRejected(InvalidRequest):
    def __init__(self, provider: str, detail: str, *, param: str | None = None) -> None:
        super().__init__(f"{provider} {detail}", code="rejected_by_provider", param=param)


class Unauthenticated(CallerError):
    status = 401
    type = "authentication_error"

    def __init__(self, message: str, *, code: str = "invalid_api_key") -> None:
        super().__init__(message)
        self.code = code


class InsufficientFunds(CallerError):
    status = 402
    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, needed_tokens: int, available_tokens: int) -> None:
        super().__init__(
            f"This call costs up to {needed_tokens} tokens, available are {available_tokens}. "
            "Top the wallet up, or ask for fewer or smaller images. Nothing was held or charged."
        )
        self.needed_tokens = needed_tokens
        self.available_tokens = available_tokens


class BudgetExceeded(CallerError):
    status = 429
    type = "rate_limit_error"
    code = "budget_exceeded"

    def __init__(self, scope: str, period: str) -> None:
        super().__init__(f"The spending budget of this {scope} per {period} is used up. Nothing was held.")


class NotFound(CallerError):
    status = 404
    code = "not_found"


class UnknownModel(NotFound):
    code = "model_not_found"
    param = "model"


class MethodNotAllowed(CallerError):
    status = 405
    code = "method_not_allowed"


class RequestTimeout(CallerError):
    status = 408
    code = "request_timeout"
    should_retry = True


class Conflict(CallerError):
    def __init__(
        self, message: str, *, code: str, status: int = 409, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s
        self.should_retry = code == "idempotency_in_progress"


class TooLarge(CallerError):
    status = 413
    code = "request_too_large"


class UnsupportedMedia(CallerError):
    status = 415

    def __init__(self, message: str, *, code: str = "unsupported_media_type") -> None:
        super().__init__(message)
        self.code = code


class InvalidSignature(CallerError):
    status = 403
    code = "invalid_signature"

    def __init__(self) -> None:
        super().__init__("This media link is not valid: its signature is wrong, or it has expired.")


class ContentRejected(CallerError):
    """`stage` says what was refused: `input` (the prompt, before any image) or `output`."""

    type = "image_generation_user_error"
    code = "moderation_blocked"

    def __init__(self, message: str, *, stage: str = "input") -> None:
        super().__init__(message)
        self.stage = stage


class Unavailable(ImagegateError):
    status = 503
    code = "overloaded"
    should_retry = True
    retry_after_s: int | None = 5


class Unpriced(Unavailable):
    code = "model_not_priced"
    should_retry = False
    retry_after_s = None
    param = "model"


class NoProvider(Unavailable):
    code = "no_provider_configured"
    should_retry = False
    retry_after_s = None
    param = "model"


class BillingUnavailable(Unavailable):
    code = "billing_unavailable"

    def __init__(self) -> None:
        super().__init__("The ledger cannot be reached right now. Nothing was charged; try again shortly.")


class SettlementPending(Unavailable):
    code = "settlement_pending"

    def __init__(self, generation_id: str) -> None:
        super().__init__(
            f"The images of {generation_id} exist, but their capture could not be confirmed yet. "
            "Fetch the generation by its id shortly."
        )


class Interrupted(Unavailable):
    code = "settlement_pending"

    def __init__(self) -> None:
        super().__init__(
            "This gateway was stopped before the generation ended. What is paid for is not lost."
        )


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The image store cannot be written right now. Nothing was charged; try again shortly."
        )


class Overloaded(Unavailable):
    retry_after_s = 1


class GenerationFailed(ImagegateError):
    status = 502
    code = "all_providers_failed"


class AllProvidersFailed(GenerationFailed):
    pass


class UpstreamTimeout(GenerationFailed):
    status = 504
    code = "upstream_timeout"


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


class RefusedUnbilled(AttemptFailed):
    """`busy`: the same candidate may be asked again (429, 503); otherwise only another one can help.

    `at_risk`: the provider failed in its own error shape, yet may have billed (500, 502).
    """

    outcome = "REFUSED_UNBILLED"

    def __init__(
        self, provider: str, detail: str, *, busy: bool = False, at_risk: bool = False, **more: Any
    ) -> None:
        super().__init__(provider, detail, **more)
        self.busy = busy
        self.at_risk = at_risk


class BilledInvalid(AttemptFailed):
    outcome = "BILLED_INVALID"


class Ambiguous(AttemptFailed):
    outcome = "AMBIGUOUS"


class OperatorError(ImagegateError):
    """Something the operator can mend. The message ends with the next command where there is one."""

    code = "operator_error"
