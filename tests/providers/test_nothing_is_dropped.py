"""What a receipt calls passed, renamed or converted is found in the request that the provider gets."""

from dataclasses import replace
from typing import Any

import pytest

from imagegate.catalogue.reading import read_documents
from imagegate.domain import GenerationRequest, InputImage, Model, Offering, ProviderCall
from imagegate.errors import InvalidRequest
from imagegate.generation import fitting, sizing
from imagegate.generation.describing import probes
from imagegate.pool import WorkPool
from tests.providers.refusing import Refusing
from tests.providers.wire_images import draw, draw_mask
from tests.providers.wire_play import outcome, read_case
from tests.providers.wire_specs import adapter_class, adapters, case_file

TOLD = ("passed", "renamed", "converted")
NOT_LOOKED_AT = ("response_format", "image", "mask", "model", "size", "aspect_ratio", "resolution")
"""Ours to do, or looked at elsewhere: many sizes come out as the one that is drawn anyway."""
FIELDS = {"provider": {"order": ["acme"]}}
"""Values of fields that are no switches."""
INPUT = "png 512x512"
OFFERINGS = [
    pytest.param(entry.model, offering, id=f"{offering.provider}-{entry.model.id}")
    for entry in read_documents(None)[1].values()
    for offering in entry.model.offerings
    if offering.provider in adapters() and offering.provider != "sandbox"
]


def bases(offering: Offering) -> list[GenerationRequest]:
    """A request for each operation of the offering, with its own fields that it cannot do without."""
    needed = dict.fromkeys({"search_prompt", "select_prompt"} & offering.passes, "the fox")
    plain = GenerationRequest("A red fox in snow", extras=needed)
    picture = (draw(INPUT, 0),)
    made = [plain, replace(plain, images=picture), replace(plain, images=picture, mask=draw_mask(INPUT))]
    return [request for request in made if fitting.lack(request, offering) is None]


def fitted(
    model: Model, offering: Offering, request: GenerationRequest, home: ProviderCall
) -> tuple[dict[str, str], ProviderCall]:
    """What the receipts say, and the call."""
    size = sizing.asked_size(request, model, fitting.tier_of(model, request))
    fit = fitting.fit(request, model, offering, size, fitting.resolve_quality(model, request.quality))
    call = replace(
        home,
        upstream_model=fit.upstream_model or offering.upstream_model,
        n=min(request.n, fit.max_n),
        size=fit.size,
        aspect=fit.aspect,
        tier=fit.tier,
        quality=fit.quality,
        format=fit.format,
        fields=fit.fields,
        images=request.images,
        mask=mask_for(request.mask, fit.mask),
        previews=fit.previews,
    )
    return {receipt.name: receipt.treatment for receipt in fit.receipts}, call


def mask_for(mask: InputImage | None, convention: str | None) -> InputImage | None:
    return mask and draw_mask(INPUT if convention == "alpha" else f"{INPUT} grey")


async def sent(
    refusing: Refusing, adapter: Any, call: ProviderCall
) -> tuple[str, bytes, list[tuple[str, str]]] | None:
    """URL, body and headers; None: the adapter found fault with it itself."""
    refusing.asked.clear()
    await outcome(adapter, call)
    if not refusing.asked:
        return None
    body, kind = refusing.asked[0].content, refusing.asked[0].headers.get("content-type", "")
    _, _, boundary = kind.partition("boundary=")
    headers = [
        (name, value) for name, value in refusing.asked[0].headers.items() if not name.startswith("content-")
    ]
    return str(refusing.asked[0].url), body.replace(boundary.encode(), b"") if boundary else body, headers


@pytest.mark.parametrize(("model", "offering"), OFFERINGS)
async def test_what_is_called_passed_is_in_the_request(
    model: Model, offering: Offering, refusing: Refusing, pool: WorkPool
) -> None:
    home = read_case(offering.provider, case_file(offering.provider, "delivered")).call
    adapter, dropped = adapter_class(offering.provider)(refusing.outbound, pool), []
    for base in bases(offering):
        plain = await sent(refusing, adapter, fitted(model, offering, base, home)[1])
        told: dict[str, list[bool]] = {}
        for probe in probes(model, offering):
            extras = {name: FIELDS.get(name, value) for name, value in probe.said.get("extras", {}).items()}
            said = {**probe.said, "extras": {**base.extras, **extras}}
            if probe.name in NOT_LOOKED_AT or "images" in said:
                continue
            try:
                receipts, call = fitted(model, offering, replace(base, **said), home)
            except InvalidRequest:
                continue
            if probe.name == "output_format" and len(offering.formats) == 1:
                continue  # it comes so without being asked for
            if receipts.get(probe.name) in TOLD:
                told.setdefault(probe.name, []).append(await sent(refusing, adapter, call) != plain)
        dropped += [(base.operation, name) for name, differs in told.items() if not any(differs)]

    assert dropped == [], f"{offering.provider} {model.id}: {dropped}"
