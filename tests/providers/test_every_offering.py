"""Whatever the catalogue sells, in every size, quality and format it says, is a request its provider's spec takes."""

from dataclasses import replace
from itertools import product

import pytest

from imagegate.catalogue.reading import read_documents
from imagegate.domain import GenerationRequest, Model, Offering, ProviderCall, Size
from imagegate.generation.fitting import fit
from imagegate.pool import WorkPool
from tests.providers.refusing import Refusing
from tests.providers.wire_offerings import SIZES
from tests.providers.wire_play import outcome, read_case
from tests.providers.wire_specs import adapter_class, adapters, case_file, check_request, spec_of

OFFERINGS = [
    pytest.param(entry.model, offering, id=f"{offering.provider}-{entry.model.id}")
    for entry in read_documents(None)[1].values()
    for offering in entry.model.offerings
    if offering.provider in adapters()
    and offering.sizes.kind != "input"
    and "generate" in offering.features.get("operations", ["generate"])
]


def calls(model: Model, offering: Offering, home: ProviderCall) -> list[ProviderCall]:
    """What the line would send for every size, quality and format, with every common field."""
    made = []
    for size, quality, form in product(
        (*SIZES, *offering.sizes.sizes), offering.qualities or (None,), offering.formats or (None,)
    ):
        request = GenerationRequest(
            prompt="A red fox in snow",
            model=model.id,
            size=size,
            quality=quality,
            output_format=form,
            output_compression=80 if form in ("jpeg", "webp") else None,
            background=None if form == "jpeg" else "transparent",
            moderation="low",
            seed=7,
            user="u-17",
            extras={"negative_prompt": "blur", "guidance": 5},
        )
        made += [call_of(model, offering, request, size, n, home) for n in {1, offering.max_n}]
    return made


def call_of(
    model: Model, offering: Offering, request: GenerationRequest, size: Size, n: int, home: ProviderCall
) -> ProviderCall:
    fitted = fit(request, model, offering, size, request.quality)
    return replace(
        home,
        upstream_model=offering.upstream_model,
        n=n,
        size=fitted.size,
        aspect=fitted.aspect,
        tier=fitted.tier,
        quality=fitted.quality,
        format=fitted.format,
        fields=fitted.fields,
    )


@pytest.mark.parametrize(("model", "offering"), OFFERINGS)
async def test_an_offering_is_asked_for_in_words_its_provider_takes(
    model: Model, offering: Offering, refusing: Refusing, pool: WorkPool
) -> None:
    case = read_case(offering.provider, case_file(offering.provider, "delivered"))
    spec, adapter = spec_of(offering.provider), adapter_class(offering.provider)(refusing.outbound, pool)

    for call in calls(model, offering, case.call):
        refusing.asked.clear()
        await outcome(adapter, call)

        assert len(refusing.asked) == 1
        check_request(spec, refusing.asked[0], call, case.key)
