"""Where the line meets the routing room: candidates in the order of a policy, and outcomes told to health."""

import random

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.upstream_cost import image_cost_usd
from imagegate.domain import Candidate, GenerationRequest, Model, Offering, Plan, Principal
from imagegate.errors import Ambiguous, BilledInvalid, ImagegateError, NotSent, RefusedUnbilled
from imagegate.routing.breaker import Call
from imagegate.routing.health import Health, Record
from imagegate.routing.policy import Choice, order
from imagegate.services import Services

Candidates = tuple[Candidate, ...]
Known = tuple[Candidates, tuple[Choice, ...]]
MOST_KNOWN = 4096
_KNOWN: dict[int, Known] = {}
"""By the identity of a plan's candidates, which are kept beside what is known of them: reckoned once for each plan."""


def policy_of(services: Services, principal: Principal, request: GenerationRequest) -> str:
    """The request's own policy, else its key's, else the gateway's."""
    return request.routing or principal.routing or services.settings.routing_policy


def in_order(services: Services, plan: Plan, policy: str) -> Candidates:
    """The plan's candidates as they are to be asked. One candidate costs nothing."""
    candidates = plan.candidates
    if len(candidates) < 2:
        return candidates
    turn = services.health.turn() if policy == "fastest" else 0
    places = order(seen_each(services, plan), policy, draw=random.random, turn=turn)
    return tuple(candidates[place] for place in places)


def seen_each(services: Services, plan: Plan) -> list[Choice]:
    """What policies know of each candidate now."""
    return [
        seen(services.health, services.catalogue, plan.model, candidate.offering, known)
        for candidate, known in zip(plan.candidates, known_of(plan.candidates), strict=True)
    ]


def seen(health: Health, catalogue: Catalogue, model: Model, offering: Offering, known: Choice) -> Choice:
    """What is known of a candidate for good, with what changes: preferences, its speed, whether it rests."""
    record = health.of(offering.provider, offering.upstream_model)
    preferred = catalogue.preferences.find(model.id, offering.provider)
    rank, weight = (preferred.rank, preferred.weight) if preferred else (None, None)
    return Choice(
        cost=known.cost,
        rank=known.rank if rank is None else rank,
        weight=known.weight if weight is None else weight,
        p50_s=record.p50_s,
        ignored=known.ignored,
        resting=health.is_resting(record),
    )


def known_of(candidates: Candidates) -> tuple[Choice, ...]:
    """Cost, rank and weight by the catalogue, and the number of parameters that each would ignore."""
    known = _KNOWN.get(id(candidates))
    if known is None or known[0] is not candidates:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[id(candidates)] = (candidates, tuple(known_choice(c) for c in candidates))
    return known[1]


def known_choice(candidate: Candidate) -> Choice:
    offering, fit = candidate.offering, candidate.fit
    return Choice(
        cost=image_cost_usd(offering, fit.size, fit.quality),
        rank=offering.rank,
        weight=offering.weight,
        ignored=sum(receipt.treatment == "ignored" for receipt in fit.receipts),
    )


def report(health: Health, record: Record, call: Call, error: ImagegateError | None) -> None:
    """Tell health how a call ended. A refusal of the request is no failure of its provider.

    A refusal of our key or of the model says nothing about how the provider does; as the one call of a breaker that is
    half open it is a failure, since the next call would be refused as well.
    """
    if error is None:
        health.succeed(record, call)
    elif isinstance(error, NotSent | Ambiguous | BilledInvalid):
        health.fail(record, call)
    elif not isinstance(error, RefusedUnbilled):
        health.succeed(record, call, timed=False)
    elif error.busy or error.at_risk or call.probe:
        health.fail(record, call, error.wait_s)
    else:
        health.forget_call(record, call)
