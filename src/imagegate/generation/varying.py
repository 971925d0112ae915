"""Variations of a picture. No provider has them any more, so an edit with a fixed prompt makes them."""

from dataclasses import replace

from imagegate.domain import GenerationRequest, ParameterReceipt
from imagegate.services import Services

PROMPT = (
    "Make a variation of this image. Keep its subject, style, colours and composition, "
    "and vary the details, as if the same picture had been made a second time."
)
AUTO = "auto"


def vary(services: Services, request: GenerationRequest) -> GenerationRequest:
    """The edit that a variation of `request.images` is, with receipts for what was put in.

    An empty prompt becomes `PROMPT`. The model stays where it can edit, or where a policy chooses it; else
    IMAGEGATE_VARIATIONS_MODEL takes its place. Raises UnknownModel.
    """
    whose = "the caller's prompt" if request.prompt else "a fixed prompt"
    treated = [ParameterReceipt("variation", "emulated", f"an edit with {whose}")]
    model = request.model or services.settings.variations_model
    if model.partition(":")[0] != AUTO:
        named = services.catalogue.find_served(model).model
        if "edit" not in named.operations:
            model = services.settings.variations_model
            treated.append(ParameterReceipt("model", "converted", f"{named.id} cannot edit → {model}"))
    return replace(
        request, prompt=request.prompt or PROMPT, model=model, treated=(*request.treated, *treated)
    )
