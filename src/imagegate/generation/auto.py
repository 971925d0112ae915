"""Which model serves a request that names none: `auto`, `auto:cheapest`, or no model at all.

`auto` alone is the gateway's default model, unless the request or its key has a policy of its own; the default may be a
policy itself. By the policy `catalogue` the default serves. Any other chooses among the models that can serve the
request: priced, without a successor, at a provider that is configured.
"""

import random
from collections.abc import Iterator
from contextlib import suppress
from operator import is_

from imagegate.catalogue.catalogue import Match
from imagegate.domain import GenerationRequest, Model, Plan, Principal
from imagegate.errors import InvalidRequest, NoProvider, Unpriced
from imagegate.generation import choosing, planning
from imagegate.routing.policy import POLICIES, Choice, choose
from imagegate.services import Services

AUTO = "auto"
NOBODY = "imagegate"
"""The creator of what is drawn for tests: no policy chooses it."""


def policy_among_models(services: Services, principal: Principal, request: GenerationRequest) -> str | None:
    """By which policy a model is to be chosen; None where the request names one, or means the default.

    Raises InvalidRequest for a policy that does not exist.
    """
    name = request.model or AUTO
    if request.own_key is not None and name.partition(":")[0] == AUTO:
        raise planning.provider_required()
    if name == AUTO and (own := request.routing or principal.routing):
        name = f"{AUTO}:{own}"
    if name in planning.DEFAULT:
        name = services.settings.default_model
    word, _, policy = name.partition(":")
    if word != AUTO:
        return None
    if policy not in POLICIES:
        text = f"There is no routing policy of that name; there are {', '.join(POLICIES)}."
        raise InvalidRequest(text, code="invalid_value", param="model")
    return policy


def plan_by(services: Services, principal: Principal, request: GenerationRequest, policy: str) -> Plan:
    """The plan of the model that a policy chooses.

    Raises InvalidRequest where every model refuses the request, NoProvider where there is none to refuse it.
    """
    plans = plans_of(services, principal.env, request)
    if not plans:
        if (refusal := refusal_of(services, principal.env, request)) is not None:
            raise refusal
        raise NoProvider(
            "No model that this gateway can reach serves such a request. Name a model: GET /v1/models lists them. "
            "Nothing was held."
        )
    turn = services.health.turn() if policy == "fastest" else 0
    return plans[choose([seen(services, plan) for plan in plans], policy, draw=random.random, turn=turn)]


Worked = tuple[tuple[object, ...], int, tuple[Plan, ...]]
MOST_WORKED = 256
_WORKED: dict[planning.Wish, Worked] = {}
"""Plans of all models by what was wished, with what they were made under: catalogue, prices, credentials, rules."""


def plans_of(services: Services, env: str, request: GenerationRequest) -> tuple[Plan, ...]:
    """One plan for each model that can serve the request, in catalogue order."""
    under = (services.catalogue, services.prices.current, services.credentials.current)
    changes = services.catalogue.rules.changes
    wish = planning.wish_of(request, env, None, AUTO)
    known = _WORKED.get(wish) if wish is not None else None
    if known and known[1] == changes and all(map(is_, known[0], under)):
        return known[2]
    plans = tuple(possible(services, env, request))
    if wish is not None:
        if len(_WORKED) >= MOST_WORKED:
            _WORKED.clear()
        _WORKED[wish] = (under, changes, plans)
    return plans


def possible(services: Services, env: str, request: GenerationRequest) -> Iterator[Plan]:
    for model in eligible(services):
        with suppress(InvalidRequest, NoProvider, Unpriced):
            yield plan_for(services, env, request, model)


def eligible(services: Services) -> Iterator[Model]:
    for model in services.catalogue.listed():
        if not model.successor and model.creator != NOBODY and services.catalogue.served(model) is model:
            yield model


def plan_for(services: Services, env: str, request: GenerationRequest, model: Model) -> Plan:
    return planning.plan_for(
        Match(model),
        request,
        env,
        catalogue=services.catalogue,
        prices=services.prices,
        credentials=services.credentials.current,
    )


def refusal_of(services: Services, env: str, request: GenerationRequest) -> InvalidRequest | None:
    """What the first model finds wrong with a request that none serves. None: there is no model that could be asked."""
    for model in eligible(services):
        try:
            with suppress(NoProvider, Unpriced):
                plan_for(services, env, request, model)
        except InvalidRequest as error:
            text = f"No model that this gateway can reach serves such a request. {model.id}, for one: {error.message}"
            return InvalidRequest(text, code=error.code, param=error.param)
    return None


def seen(services: Services, plan: Plan) -> Choice:
    """A model among models: its price, and the best of its offerings."""
    offered = choosing.seen_each(services, plan)
    preferred = services.catalogue.preferences.find(plan.model.id)
    rank, weight = (preferred.rank, preferred.weight) if preferred else (None, None)
    speeds = [choice.p50_s for choice in offered if choice.p50_s is not None]
    return Choice(
        cost=plan.quote.hold_tokens,
        rank=plan.model.rank if rank is None else rank,
        weight=plan.model.weight if weight is None else weight,
        p50_s=min(speeds, default=None),
        ignored=min(choice.ignored for choice in offered),
        resting=all(choice.resting for choice in offered),
    )
