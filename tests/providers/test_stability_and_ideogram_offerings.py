"""Stability AI and Ideogram: what the catalogue says of an offering is what its provider is sent, of edits too."""

from dataclasses import replace
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from imagegate.catalogue.reading import read_documents
from imagegate.domain import GenerationRequest, Model, Offering
from imagegate.generation.fitting import fit
from imagegate.pool import WorkPool
from imagegate.providers import ideogram, stability
from tests.providers.refusing import Refusing
from tests.providers.wire_cases import call_from
from tests.providers.wire_offerings import SIZES, offerings
from tests.providers.wire_play import outcome, read_case
from tests.providers.wire_specs import adapter_class, case_file, check_request, spec_of

SOLD = [
    pytest.param(module, offering, id=offering.upstream_model)
    for module in (stability, ideogram)
    for offering in offerings(module.NAME)
    if "upscale" not in offering.features["operations"]
]
SAID = {
    "generate": {},
    "edit": {"images": ["png 96x64"]},
    "inpaint": {"images": ["png 96x64"], "mask": "png 96x64"},
}
ELSEWHERE = {"user"}
"""Goes in a header."""


@pytest.mark.parametrize(("module", "offering"), SOLD)
def test_every_field_that_an_offering_passes_is_sent_by_one_of_its_operations(
    module: ModuleType, offering: Offering
) -> None:
    sent = [
        name for operation in offering.features["operations"] for name in body(module, offering, operation)
    ]

    assert set(offering.passes) - ELSEWHERE <= set(sent)
    assert "made_up" not in sent


def body(module: ModuleType, offering: Offering, operation: str) -> dict[str, Any]:
    fields = {**dict.fromkeys(offering.passes, "1"), "made_up": "1"}
    call = {"upstream_model": offering.upstream_model, "aspect": "1:1", "fields": fields, **SAID[operation]}
    return dict(module.write_body(call_from({"call": call})))


@pytest.mark.parametrize(("module", "offering"), SOLD)
def test_every_style_that_an_offering_knows_has_a_word_there(module: ModuleType, offering: Offering) -> None:
    operation = offering.features["operations"][0]

    for style in offering.features.get("styles", ()):
        call = {"upstream_model": offering.upstream_model, "fields": {"style": style}, **SAID[operation]}
        sent = module.write_body(call_from({"call": call}))
        assert {"style_preset", "style_type"} & set(sent), style


EDITED = [
    pytest.param(entry.model, offering, operation, id=f"{offering.upstream_model}-{operation}")
    for entry in read_documents(None)[1].values()
    for offering in entry.model.offerings
    if offering.provider in (stability.NAME, ideogram.NAME)
    for operation in offering.features["operations"]
    if operation in ("edit", "inpaint")
]
NEEDED = {"search_prompt": "the dog", "select_prompt": "the dog", "left": 200}
"""What some places cannot do without."""


@pytest.mark.parametrize(("model", "offering", "operation"), EDITED)
async def test_an_edit_is_asked_for_in_words_its_provider_takes(
    model: Model,
    offering: Offering,
    operation: str,
    refusing: Refusing,
    pool: WorkPool,
) -> None:
    case = read_case(offering.provider, case_file(offering.provider, "delivered"))
    pictures = call_from({"call": SAID[operation]})
    adapter = adapter_class(offering.provider)(refusing.outbound, pool)
    for size, quality, form in product(SIZES, offering.qualities or (None,), offering.formats):
        request = GenerationRequest(
            prompt="A red fox in snow", model=model.id, size=size, quality=quality, output_format=form,
            style=next(iter(offering.features["styles"]), None) if "styles" in offering.features else None,
            seed=7, guidance=12.5, negative_prompt="blur", prompt_enhancement=False, user="u-17",
            images=pictures.images, mask=pictures.mask, extras=NEEDED,
        )  # fmt: skip
        fitted = fit(request, model, offering, size, quality)
        call = replace(
            pictures, upstream_model=offering.upstream_model, size=fitted.size, aspect=fitted.aspect,
            tier=fitted.tier, quality=fitted.quality, format=fitted.format, fields=fitted.fields,
            api_key=case.call.api_key,
        )  # fmt: skip
        refusing.asked.clear()

        await outcome(adapter, call)

        assert len(refusing.asked) == 1
        check_request(spec_of(offering.provider), refusing.asked[0], call, case.key)
