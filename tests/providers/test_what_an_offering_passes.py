"""What the catalogue says of an offering is true of its adapter: pictures, masks, our fields and the provider's own."""

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

PROVIDERS = ("google", "recraft", "together", "xai")
OURS: dict[str, Any] = {
    "seed": 7,
    "negative_prompt": "blur",
    "guidance": 4.5,
    "style": "digital_illustration",
    "prompt_enhancement": False,
}
THEIRS: dict[str, Any] = {
    "moderation": "low",
    "safety_identifier": "s-1",
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    "systemInstruction": {"parts": [{"text": "Draw flat."}]},
    "thinkingConfig": {"includeThoughts": False},
    "temperature": 0.5,
    "topP": 0.9,
    "topK": 40,
    "mediaResolution": "MEDIA_RESOLUTION_HIGH",
    "prompt_upsampling": True,
    "random_seed": 7,
    "controls": {"colors": [{"rgb": [255, 120, 0]}]},
    "block_nsfw": True,
    "calculate_features": False,
    "creativity": "standard",
    "expire": True,
    "strength": 0.3,
    "substyle": "grain",
    "style_id": "5f9b1c0e-0000-4000-8000-000000000000",
    "text_layout": [{"text": "Fox", "bbox": [[0, 0], [1, 0], [1, 1], [0, 1]]}],
    "expand_left": 64,
    "expand_right": 64,
    "expand_top": 0,
    "expand_bottom": 0,
    "zoom_out_percentage": 10,
}
"""One value for every field that is passed through."""
RENAMED = {"safety_identifier": "user", "moderation": "safetySettings"}
OFFERINGS = [
    pytest.param(offering, operation, id=f"{provider}-{offering.upstream_model}-{operation}")
    for provider in PROVIDERS
    for offering in offerings(provider)
    for operation in offering.features["operations"]
]


def call_for(offering: Offering, operation: str, fields: dict[str, Any], **more: Any) -> ProviderCall:
    """The widest call of one operation that the catalogue allows."""
    home = read_case(offering.provider, case_file(offering.provider, "delivered")).call
    edits = operation != "generate"
    pictures = ["png 64x48", "jpeg 32x32", "webp 16x16"] * 5
    native = native_for(offering.sizes, SIZES[0])
    made = call_from(
        {},
        images=pictures[: offering.features["max_input_images"]] if edits else [],
        mask="png 64x48 grey" if operation == "inpaint" else None,
    )
    return replace(
        home,
        upstream_model=offering.upstream_model,
        n=offering.features.get("edit_max_n", offering.max_n) if edits else offering.max_n,
        images=made.images,
        mask=made.mask,
        size=native.size,
        aspect=native.aspect,
        tier=native.tier,
        fields=fields,
        **{"quality": None, "format": None} | more,
    )


async def sent(call: ProviderCall, offering: Offering, refusing: Refusing, pool: WorkPool) -> str:
    """What the adapter sent, which its provider's spec takes."""
    refusing.asked.clear()
    await outcome(adapter_class(offering.provider)(refusing.outbound, pool), call)
    assert len(refusing.asked) == 1
    key = call.api_key.get_secret_value() if call.api_key else None
    check_request(spec_of(offering.provider), refusing.asked[0], call, key)
    return str(body_of(refusing.asked[0]))


def ours(offering: Offering) -> dict[str, Any]:
    taken = {name: value for name, value in OURS.items() if offering.features.get(name)}
    if span := offering.features.get("steps"):
        taken["steps"] = span[1]
    return taken


@pytest.mark.parametrize(("offering", "operation"), OFFERINGS)
async def test_the_widest_call_of_every_operation_is_one_that_its_provider_takes(
    offering: Offering, operation: str, refusing: Refusing, pool: WorkPool
) -> None:
    for quality in offering.qualities or (None,):
        for form in offering.formats or (None,):
            call = call_for(offering, operation, ours(offering), quality=quality, format=form)
            await sent(call, offering, refusing, pool)


@pytest.mark.parametrize(("offering", "operation"), OFFERINGS)
async def test_every_word_for_thinking_is_one_that_the_model_knows(
    offering: Offering, operation: str, refusing: Refusing, pool: WorkPool
) -> None:
    for word in offering.features.get("thinking", ()):
        call = call_for(offering, operation, {"thinking": word})

        assert word.upper() in await sent(call, offering, refusing, pool)


@pytest.mark.parametrize(
    "offering", [o for p in PROVIDERS for o in offerings(p)], ids=lambda o: o.upstream_model
)
async def test_every_field_that_is_passed_through_arrives_by_some_operation(
    offering: Offering, refusing: Refusing, pool: WorkPool
) -> None:
    for name in offering.passes:
        told = [
            await sent(call_for(offering, operation, {name: THEIRS[name]}), offering, refusing, pool)
            for operation in offering.features["operations"]
        ]
        assert any(RENAMED.get(name, name) in body for body in told), name
