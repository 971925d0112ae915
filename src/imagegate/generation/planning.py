"""Plans a request, purely: which model, at what price, drawn by whom and in which order."""

from collections.abc import Mapping
from weakref import WeakKeyDictionary

from imagegate.catalogue.catalogue import Catalogue, Match
from imagegate.catalogue.prices import PriceBook
from imagegate.domain import Candidate, Credential, GenerationRequest, Model, Offering, Plan, Size
from imagegate.errors import InvalidRequest, NoProvider
from imagegate.generation import fitting


def plan(
    request: GenerationRequest,
    env: str,
    *,
    catalogue: Catalogue,
    prices: PriceBook,
    credentials: Mapping[str, Credential],
    default_model: str,
) -> Plan:
    """Raises UnknownModel, InvalidRequest, Unpriced, NoProvider. Nothing is asked of anybody."""
    match = catalogue.find_served(request.model or default_model)
    return plan_for(match, request, env, catalogue=catalogue, prices=prices, credentials=credentials)


def plan_for(
    match: Match,
    request: GenerationRequest,
    env: str,
    *,
    catalogue: Catalogue,
    prices: PriceBook,
    credentials: Mapping[str, Credential],
) -> Plan:
    """The plan of a model that is known, whatever the rules say of it. Raises as `plan` does."""
    model = match.model
    size = request.size or model.default_size
    check(request, model, size)
    wish = wish_of(request, env, match.forced_provider, model.id)
    plans = plans_at(prices)
    if wish in plans:
        return plans[wish]
    quality = fitting.resolve_quality(model, request.quality)
    quote = prices.find(model, catalogue).quote(model=model.id, size=size, quality=quality, n=request.n)
    offerings = [
        offering
        for offering in catalogue.shelf(env).get(model.id, ())
        if match.forced_provider is None or match.forced_provider in offering.sells_as
    ]
    fitted = [
        (o, fitting.fit(request, model, o, size, quality)) for o in offerings if o.provider in credentials
    ]
    if not fitted:
        raise NoProvider(_nobody(model, offerings))
    made = Plan(model, quote, tuple(Candidate(o, credentials[o.provider], fit) for o, fit in fitted))
    if wish is not None:
        plans[wish] = made
    return made


Wish = tuple[object, ...]
MOST_PLANS = 4096
_PLANS: "WeakKeyDictionary[PriceBook, tuple[object, dict[Wish | None, Plan]]]" = WeakKeyDictionary()


def plans_at(prices: PriceBook) -> "dict[Wish | None, Plan]":
    """Plans made at the prices in force. Most requests differ in their prompt alone, which no plan looks at.

    Plans are known by the model that the rules led to just now, so a change of rules cannot find an old one.
    """
    known = _PLANS.get(prices)
    if known is None or known[0] is not prices.current or len(known[1]) >= MOST_PLANS:
        known = _PLANS[prices] = (prices.current, {})
    return known[1]


def wish_of(request: GenerationRequest, env: str, provider: str | None, model: str) -> Wish | None:
    """All that a plan depends on; None for a request with fields of its own, which is planned anew."""
    if request.extras or request.user is not None or request.seed is not None:
        return None
    return (
        env,
        provider,
        model,
        request.n,
        request.size,
        request.quality,
        request.style,
        request.response_format,
        request.output_format,
        request.output_compression,
        request.background,
        request.moderation,
        request.strict,
    )


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
    return f"{model.id} needs a provider that is not configured here: the operator sets {keys}. Nothing was held."
