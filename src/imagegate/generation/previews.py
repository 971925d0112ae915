"""Previews, `partial_images` of a stream: whether they are asked for, what is held for them, which of them count."""

from collections.abc import Iterable
from dataclasses import replace

from imagegate.catalogue.prices import Price
from imagegate.domain import Fit, GenerationRequest, ParameterReceipt, Preview, Principal, ProviderCall, Quote
from imagegate.generation.moderating import judges_outputs_of
from imagegate.generation.progress import Execution
from imagegate.services import Services


def allowed(services: Services, principal: Principal, request: GenerationRequest) -> GenerationRequest:
    """The request without previews where the moderation of outputs could still refuse what they show."""
    if request.partial_images and judges_outputs_of(services, principal):
        return without(request, "this gateway's moderation looks at images before they are shown")
    return request


def priced(request: GenerationRequest, price: Price) -> GenerationRequest:
    """The request without previews where it is not known what one costs; a caller's own key pays for its own."""
    known = request.own_key is not None or (price.terms is not None and price.terms.per_partial is not None)
    if known or not request.partial_images:
        return request
    return without(request, "no price: it is not known what a preview of this model costs")


def without(request: GenerationRequest, why: str) -> GenerationRequest:
    receipt = ParameterReceipt("partial_images", "ignored", why)
    return replace(request, partial_images=0, treated=(*request.treated, receipt))


def held(quote: Quote, fits: Iterable[Fit]) -> Quote:
    """The quote for those who are asked: previews are held for only where one of them shows any."""
    most = max((fit.previews for fit in fits), default=0)
    return quote if quote.previews <= most else replace(quote, previews=most)


def showing(call: ProviderCall, run: Execution, seq: int) -> ProviderCall:
    """The call of an attempt, that passes on what it shows and counts it: no more than it asks for, which is held."""

    async def show(preview: Preview) -> None:
        if run.shown.get(seq, 0) < call.previews:
            run.shown[seq] = run.shown.get(seq, 0) + 1
            await run.preview(preview, seq)

    return replace(call, preview=show)


def counted(run: Execution) -> int:
    """The previews that came of images that were delivered: those of a call that failed are not charged."""
    return (
        sum(run.shown.get(attempt.seq, 0) for attempt in run.attempts if attempt.images) if run.shown else 0
    )
