"""Plans a request, purely: which model, at what price, drawn by whom and in which order."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from weakref import WeakKeyDictionary

from imagegate.catalogue.catalogue import Catalogue, Match
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.catalogue.terms import count_inputs
from imagegate.domain import Candidate, Credential, Fit, GenerationRequest, Model, Offering, Plan, Quote, Size
from imagegate.errors import InvalidRequest, NoProvider
from imagegate.generation import fitting, previews, sizing

DEFAULT = (None, "auto", "auto:catalogue")


def plan(
    request: GenerationRequest,
    env: str,
    *,
    catalogue: Catalogue,
    prices: PriceBook,
    credentials: Mapping[str, Credential],
    default_model: str,
    own_key_fee_tokens: int = 0,
) -> Plan:
    """Raises UnknownModel, InvalidRequest, Unpriced, NoProvider. Nothing is asked of anybody.

    own_key_fee_tokens: what an image costs that is made with the caller's own provider key.
    """
    named = default_model if request.model in DEFAULT else request.model
    match = catalogue.find_served(named or default_model)
    return plan_for(
        match,
        request,
        env,
        catalogue=catalogue,
        prices=prices,
        credentials=credentials,
        own_key_fee_tokens=own_key_fee_tokens,
    )


def plan_for(
    match: Match,
    request: GenerationRequest,
    env: str,
    *,
    catalogue: Catalogue,
    prices: PriceBook,
    credentials: Mapping[str, Credential],
    own_key_fee_tokens: int = 0,
) -> Plan:
    """The plan of a model that is known, whatever the rules say of it. Raises as `plan` does."""
    model = match.model
    check_own_key(request, match)
    size = sizing.asked_size(request, model, fitting.tier_of(model, request))
    check(request, model, size)
    wish = wish_of(request, env, match.forced_provider, model.id)
    plans = plans_at(prices, credentials)
    if wish in plans:
        return plans[wish]
    quality = fitting.resolve_quality(model, request.quality)
    price = prices.find(model, catalogue)
    request = previews.priced(request, price)
    quote = quote_for(request, price, model, size, quality, own_key_fee_tokens)
    offerings = [
        offering
        for offering in catalogue.shelf(env).get(model.id, ())
        if match.forced_provider is None or match.forced_provider in offering.sells_as
    ]
    reachable = [offering for offering in offerings if offering.provider in credentials]
    if not reachable:
        raise NoProvider(_nobody(model, offerings))
    fitted = fit_each(request, model, reachable, size, quality)
    quote = previews.held(quote, (fit for _, fit in fitted))
    made = Plan(model, quote, tuple(Candidate(o, credentials[o.provider], fit) for o, fit in fitted))
    if wish is not None:
        plans[wish] = made
    return made


def quote_for(
    request: GenerationRequest,
    price: Price,
    model: Model,
    size: Size,
    quality: str | None,
    own_key_fee_tokens: int,
) -> Quote:
    """What it costs; with the caller's own provider key the fee alone."""
    inputs = count_inputs([image.size for image in request.images])
    shown = request.partial_images
    quote = price.quote(
        model=model.id, size=size, quality=quality, n=request.n, inputs=inputs, previews=shown
    )
    if request.own_key is None:
        return quote
    fee = Fraction(own_key_fee_tokens)
    return replace(quote, image_tokens=fee, input_tokens=0, preview_tokens=0, rates=None, unit="image")


def fit_each(
    request: GenerationRequest, model: Model, offerings: list[Offering], size: Size, quality: str | None
) -> list[tuple[Offering, Fit]]:
    """Those that can serve the request. Raises InvalidRequest when none can: why the first cannot."""
    if (unthinkable := fitting.lack_of_thinking(request, offerings)) is not None:
        raise unthinkable
    fitted, lacking = [], []
    for offering in offerings:
        try:
            if (lack := fitting.lack(request, offering)) is not None:
                raise lack
            fitted.append((offering, fitting.fit(request, model, offering, size, quality)))
        except InvalidRequest as error:
            lacking.append(error)
    if not fitted:
        raise lacking[0]
    return fitted


Wish = tuple[object, ...]
MOST_PLANS = 4096
_PLANS: "WeakKeyDictionary[PriceBook, tuple[object, object, dict[Wish | None, Plan]]]" = WeakKeyDictionary()


def plans_at(prices: PriceBook, credentials: Mapping[str, Credential]) -> "dict[Wish | None, Plan]":
    """Plans made at the prices in force and with these credentials, which are replaced and never changed.

    Most requests differ in their prompt alone, which no plan looks at.
    Plans are known by the model that the rules led to just now, so a change of rules cannot find an old one.
    """
    known = _PLANS.get(prices)
    at = (prices.current, credentials)
    if known is None or known[0] is not at[0] or known[1] is not at[1] or len(known[2]) >= MOST_PLANS:
        known = _PLANS[prices] = (*at, {})
    return known[2]


def wish_of(request: GenerationRequest, env: str, provider: str | None, model: str) -> Wish | None:
    """All that a plan depends on; None for a request with fields of its own, which is planned anew."""
    own = (request.user, request.seed, request.negative_prompt)
    if (
        request.extras
        or request.images
        or request.mask
        or request.own_key
        or any(value is not None for value in own)
    ):
        return None
    return (
        env,
        provider,
        model,
        request.n,
        request.size,
        request.aspect,
        request.resolution,
        request.size_policy,
        request.quality,
        request.steps,
        request.guidance,
        request.thinking,
        request.prompt_enhancement,
        request.style,
        request.response_format,
        request.output_format,
        request.output_compression,
        request.background,
        request.moderation,
        request.strict,
        request.treated,
        request.partial_images,
    )


def check_own_key(request: GenerationRequest, match: Match) -> None:
    """Raises InvalidRequest: a caller's own key goes to the provider that the caller named, and to nobody else."""
    if request.own_key is not None and match.forced_provider is None:
        raise provider_required()


def provider_required() -> InvalidRequest:
    text = (
        "A provider key of your own needs the provider to be named: model `openai:gpt-image-2`, for example."
    )
    return InvalidRequest(text, code="provider_required", param="model")


def check(request: GenerationRequest, model: Model, size: Size) -> None:
    """What no offering of the model could do. Raises InvalidRequest."""
    most = model.max_prompt_chars
    if most is not None and len(request.prompt) > most:
        text = f"The prompt has {len(request.prompt)} characters; {model.id} takes at most {most}."
        raise InvalidRequest(text, code="string_too_long", param="prompt")
    if max(size.width_px, size.height_px) > fitting.MAX_EDGE_PX:
        text = f"An edge is at most {fitting.MAX_EDGE_PX} pixels."
        raise InvalidRequest(text, code="invalid_value", param="size")


def _nobody(model: Model, offerings: list[Offering]) -> str:
    names = sorted({offering.provider for offering in offerings})
    if not names:
        return f"No provider of {model.id} can be reached through this gateway yet. Nothing was held."
    keys = " or ".join(f"IMAGEGATE_{name.upper()}_API_KEY" for name in names)
    return (
        f"{model.id} needs a provider that is not configured or not enabled here: the operator sets {keys}, or looks "
        "at `imagegate providers list`. Nothing was held."
    )
