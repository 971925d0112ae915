"""The nouns, frozen, in the order they appear on the line."""

from imagegate.domain.asking import (
    GenerationRequest,
    ParameterReceipt,
    Principal,
    Size,
)
from imagegate.domain.making import (
    Adapter,
    Attempt,
    Generation,
    Image,
    ProviderCall,
    ProviderImage,
    ProviderResult,
    Reservation,
)
from imagegate.domain.offering import (
    Candidate,
    Credential,
    Fit,
    Model,
    Offering,
    Output,
    Plan,
    Quote,
    SizeRule,
)

__all__ = [
    "Adapter",
    "Attempt",
    "Candidate",
    "Credential",
    "Fit",
    "Generation",
    "GenerationRequest",
    "Image",
    "Model",
    "Offering",
    "Output",
    "ParameterReceipt",
    "Plan",
    "Principal",
    "ProviderCall",
    "ProviderImage",
    "ProviderResult",
    "Quote",
    "Reservation",
    "Size",
    "SizeRule",
]
