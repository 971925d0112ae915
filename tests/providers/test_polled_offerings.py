"""What the catalogue says of BFL, fal and Replicate is true of their adapters: pictures, masks and every field."""

from dataclasses import replace
from typing import Any

import pytest

from imagegate.domain import Offering, ProviderCall
from imagegate.generation.sizing import native_for
from imagegate.pool import WorkPool
from tests.providers.refusing import Refusing
from tests.providers.wire_cases import call_from
from tests.providers.wire_offerings import SIZES, offerings
from tests.providers.wire_play import outcome, read_case
from tests.providers.wire_specs import adapter_class, body_of, case_file, check_request, spec_of

PROVIDERS = ("bfl", "fal", "replicate")
OURS: dict[str, Any] = {
    "seed": 7,
    "steps": 20,
    "guidance": 3,
    "prompt_enhancement": False,
    "background": "transparent",
    "output_compression": 70,
}
SAID_AS = {
    "seed": ("seed",),
    "steps": ("steps", "num_inference_steps"),
    "guidance": ("guidance", "guidance_scale"),
    "prompt_enhancement": ("disable_pup", "prompt_upsampling", "enable_prompt_expansion"),
    "background": ("background",),
    "output_compression": ("output_quality",),
    "moderation": ("safety_tolerance",),
}
"""Under which names a field of ours may arrive."""
THEIRS: dict[str, Any] = {
    "moderation": "low",
    "safety_tolerance": 1,
    "disable_pup": True,
    "prompt_upsampling": True,
    "grounding": False,
    "version": "v1",
    "raw": True,
    "image_prompt_strength": 0.4,
    "enable_safety_checker": True,
    "num_inference_steps": 2,
    "guidance_scale": 3.5,
    "acceleration": "none",
    "thinking_level": "high",
    "enable_web_search": False,
    "limit_generations": True,
    "system_prompt": "Draw flat.",
    "enable_prompt_expansion": True,
    "output_quality": 10,
    "go_fast": False,
    "megapixels": "1",
    "disable_safety_checker": False,
}
"""One value for every field that is passed through; fal writes a tolerance as text."""
OFFERINGS = [
    pytest.param(offering, operation, id=f"{provider}-{offering.upstream_model}-{operation}")
    for provider in PROVIDERS
    for offering in offerings(provider)
    for operation in offering.features["operations"]
]


def call_for(offering: Offering, operation: str, **more: Any) -> ProviderCall:
    """A call of one operation with as many pictures as the catalogue allows."""
    features, edits = offering.features, operation != "generate"
    colours = " grey" if features.get("mask") == "white" else ""
    made = call_from(
        {},
        images=(["png 64x48", "jpeg 32x32"] * 8)[: features["max_input_images"]] if edits else [],
        mask=f"png 64x48{colours}" if operation == "inpaint" else None,
    )
    native = native_for(offering.sizes, SIZES[0])
    return replace(
        read_case(offering.provider, case_file(offering.provider, "delivered")).call,
        upstream_model=features.get("edit_model", offering.upstream_model)
        if edits
        else offering.upstream_model,
        images=made.images,
        mask=made.mask,
        size=native.size,
        aspect=native.aspect,
        tier=native.tier,
        n=offering.max_n,
        **{"quality": None, "format": None, "fields": {}} | more,
    )


async def sent(call: ProviderCall, offering: Offering, refusing: Refusing, pool: WorkPool) -> dict[str, Any]:
    """The fields that arrived, all of which the provider's spec takes."""
    refusing.asked.clear()
    await outcome(adapter_class(offering.provider)(refusing.outbound, pool), call)
    assert len(refusing.asked) == 1
    key = call.api_key.get_secret_value() if call.api_key else None
    check_request(spec_of(offering.provider), refusing.asked[0], call, key)
    body = dict(body_of(refusing.asked[0]))
    return dict(body.get("input", body))


def pictures_in(body: dict[str, Any]) -> int:
    values = [value for told in body.values() for value in (told if isinstance(told, list) else [told])]
    return len([value for value in values if isinstance(value, str) and len(value) > 64])


def ours(offering: Offering) -> dict[str, Any]:
    """The fields of ours that the catalogue says it takes, at the most of their span."""
    spans = {name: offering.features.get(name) for name in OURS}
    return {name: span[1] if isinstance(span, list) else OURS[name] for name, span in spans.items() if span}


@pytest.mark.parametrize(("offering", "operation"), OFFERINGS)
async def test_every_picture_and_every_field_of_ours_arrives_where_the_catalogue_says_so(
    offering: Offering, operation: str, refusing: Refusing, pool: WorkPool
) -> None:
    said = ours(offering)
    for quality in offering.qualities or (None,):
        for form in offering.formats or (None,):
            call = call_for(offering, operation, quality=quality, format=form, fields=said)

            body = await sent(call, offering, refusing, pool)

            for name in said:
                assert any(theirs in body for theirs in SAID_AS[name]), name
            assert pictures_in(body) == len(call.images) + (call.mask is not None)


@pytest.mark.parametrize(("offering", "operation"), OFFERINGS)
async def test_every_field_that_is_passed_through_arrives(
    offering: Offering, operation: str, refusing: Refusing, pool: WorkPool
) -> None:
    for name in offering.passes:
        value = (
            str(THEIRS[name]) if (offering.provider, name) == ("fal", "safety_tolerance") else THEIRS[name]
        )

        body = await sent(call_for(offering, operation, fields={name: value}), offering, refusing, pool)

        assert any(theirs in body for theirs in SAID_AS.get(name, (name,))), name


@pytest.mark.parametrize(("offering", "operation"), OFFERINGS)
async def test_every_word_for_thinking_arrives(
    offering: Offering, operation: str, refusing: Refusing, pool: WorkPool
) -> None:
    for word in offering.features.get("thinking", ()):
        call = call_for(offering, operation, fields={"thinking": word})

        assert (await sent(call, offering, refusing, pool))["thinking_level"] == word


def test_the_catalogue_offers_edits_of_all_three() -> None:
    found = {
        (offering.provider, operation)
        for provider in PROVIDERS
        for offering in offerings(provider)
        for operation in offering.features["operations"]
    }

    assert found >= {(provider, "edit") for provider in PROVIDERS}
    assert found >= {("bfl", "inpaint"), ("fal", "inpaint")}
