"""The gateway or its providers are at fault."""

from imagegate.errors.base import ImagegateError


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


class GenerationPending(Unavailable):
    code = "generation_pending"


class JobExpired(ImagegateError):
    status = 504
    code = "job_expired"


class WorkerLost(Unavailable):
    """A retry with the same key runs it again."""

    code = "worker_lost"

    def __init__(self) -> None:
        super().__init__("The gateway stopped while this was being made. Nothing was charged; try again.")


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The image store cannot be written right now. Nothing was charged; try again shortly."
        )


class ModerationUnavailable(Unavailable):
    """A moderator gave no verdict, and such requests do not pass. As the end of an attempt: its image was billed."""

    code = "moderation_unavailable"
    outcome = "BILLED_INVALID"

    def __init__(self, what: str) -> None:
        super().__init__(f"This gateway's moderation cannot be asked right now. {what}")


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
