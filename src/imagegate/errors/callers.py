"""The request is at fault: nothing was spent."""

from imagegate.errors.base import ImagegateError


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
    def __init__(
        self, provider: str, detail: str, *, param: str | None = None, code: str = "rejected_by_provider"
    ) -> None:
        super().__init__(f"{provider} {detail}", code=code, param=param)


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

    def __init__(self, needed_tokens: int, left_tokens: int, whose: str) -> None:
        super().__init__(
            f"This call costs up to {needed_tokens} tokens, and {whose} has {left_tokens} left. Nothing was held."
        )


class NotFound(CallerError):
    status = 404
    code = "not_found"


class UnknownModel(NotFound):
    code = "model_not_found"
    param = "model"


class MethodNotAllowed(CallerError):
    status = 405
    code = "method_not_allowed"


class HeaderTooLarge(CallerError):
    status = 431
    code = "header_too_large"


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


class ProviderKeyRejected(InvalidRequest):
    """A provider does not accept the key that the caller brought."""

    status = 401
    type = "authentication_error"

    def __init__(self, provider: str) -> None:
        text = f"{provider} does not accept the provider key that you sent. Nobody else was asked, nothing was charged."
        super().__init__(text, code="provider_key_rejected", param="x-provider-key")


class ContentRejected(CallerError):
    """`stage` says what was refused: `input` (the prompt, before any image) or `output`."""

    type = "image_generation_user_error"
    code = "moderation_blocked"

    def __init__(self, message: str, *, stage: str = "input") -> None:
        super().__init__(message)
        self.stage = stage


class OutputBlocked(ContentRejected):
    """This gateway's own moderation refused an image that was made, and that the provider has billed."""

    outcome = "BILLED_INVALID"

    def __init__(self) -> None:
        super().__init__(
            "This gateway's moderation refused the image that was made. Change the prompt and ask again. "
            "Nothing was charged.",
            stage="output",
        )
