"""Every error a caller or an operator can meet, with the status and code it carries over HTTP.

ImagegateError
├── CallerError                    the request is at fault; nothing was spent
│   ├── InvalidRequest             400 with `code` and `param`
│   │   ├── ProviderKeyRejected    401, the key that the caller brought for a provider
│   │   └── ProviderRejected       400, a provider found the request invalid (class REJECTED)
│   ├── Unauthenticated            401
│   ├── InsufficientFunds          402
│   ├── BudgetExceeded             429; RateLimited and ConcurrencyLimited are in identity/limits.py
│   ├── NotFound                   404
│   │   └── UnknownModel           404 `model_not_found`
│   ├── MethodNotAllowed           405
│   ├── RequestTimeout             408
│   ├── Conflict                   409, 422 or 410: what the idempotency key or the result says
│   ├── TooLarge                   413
│   ├── HeaderTooLarge             431
│   ├── UnsupportedMedia           415
│   ├── InvalidSignature           403, a media link that is bad, moved or expired
│   └── ContentRejected            400, moderation refused (as an attempt: class REJECTED)
│       └── OutputBlocked          400, ours refused what was made (as an attempt: BILLED_INVALID)
├── Unavailable                    503, try again later
│   ├── Unpriced                   503 `model_not_priced`, trying again does not help
│   ├── NoProvider                 503 `no_provider_configured`, trying again does not help
│   ├── BillingUnavailable         503, the ledger cannot be reached
│   ├── SettlementPending          503, the image exists, its capture is under way
│   ├── GenerationPending          503, still being made upstream: a retry attaches to it
│   ├── WorkerLost                 503, the process that made it died: a retry makes it again
│   ├── StorageUnavailable         503, the image store cannot be written
│   ├── ModerationUnavailable      503, a moderator gave no verdict
│   └── Overloaded                 503, shed
├── JobExpired                     504, an async job whose turn did not come
├── GenerationFailed
│   ├── AllProvidersFailed         502, every candidate refused, each attempt named
│   └── UpstreamTimeout            504, it cannot be known whether the provider made the image
├── AttemptFailed                  one call to one provider; never reaches a caller as it is
│   ├── NotSent                    no byte of the request left: the next candidate may try
│   │   └── Crowded                this process has as many calls there as it may
│   ├── RefusedUnbilled            refused and certainly not billed: the next candidate may try
│   ├── BilledInvalid              answered 200 without a usable image
│   └── Ambiguous                  it may have been made and billed: nobody else may try
└── OperatorError                  the CLI prints it: what, why, and the next command
"""

from imagegate.errors.attempts import (
    Ambiguous,
    AttemptFailed,
    BilledInvalid,
    Crowded,
    NotSent,
    RefusedUnbilled,
)
from imagegate.errors.base import ImagegateError, OperatorError
from imagegate.errors.callers import (
    BudgetExceeded,
    CallerError,
    Conflict,
    ContentRejected,
    HeaderTooLarge,
    InsufficientFunds,
    InvalidRequest,
    InvalidSignature,
    MethodNotAllowed,
    NotFound,
    OutputBlocked,
    ProviderKeyRejected,
    ProviderRejected,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    UnknownModel,
    UnsupportedMedia,
)
from imagegate.errors.outages import (
    AllProvidersFailed,
    BillingUnavailable,
    GenerationFailed,
    GenerationPending,
    Interrupted,
    JobExpired,
    ModerationUnavailable,
    NoProvider,
    Overloaded,
    SettlementPending,
    StorageUnavailable,
    Unavailable,
    Unpriced,
    UpstreamTimeout,
    WorkerLost,
)

__all__ = [
    "AllProvidersFailed",
    "Ambiguous",
    "AttemptFailed",
    "BilledInvalid",
    "BillingUnavailable",
    "BudgetExceeded",
    "CallerError",
    "Conflict",
    "ContentRejected",
    "Crowded",
    "GenerationFailed",
    "GenerationPending",
    "HeaderTooLarge",
    "ImagegateError",
    "InsufficientFunds",
    "Interrupted",
    "InvalidRequest",
    "InvalidSignature",
    "JobExpired",
    "MethodNotAllowed",
    "ModerationUnavailable",
    "NoProvider",
    "NotFound",
    "NotSent",
    "OperatorError",
    "OutputBlocked",
    "Overloaded",
    "ProviderKeyRejected",
    "ProviderRejected",
    "RefusedUnbilled",
    "RequestTimeout",
    "SettlementPending",
    "StorageUnavailable",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
    "Unpriced",
    "UnsupportedMedia",
    "UpstreamTimeout",
    "WorkerLost",
]
