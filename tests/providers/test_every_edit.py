"""Whatever the catalogue edits is a request its provider's spec takes: with every field at once, one picture or all."""

from dataclasses import replace

import pytest

from imagegate.catalogue.reading import read_documents
from imagegate.domain import GenerationRequest, InputImage, Model, Offering, ProviderCall, Size
from imagegate.generation.fitting import fit, lack
from imagegate.pool import WorkPool
from tests.providers.refusing import Refusing
from tests.providers.wire_images import draw, draw_mask
from tests.providers.wire_play import outcome, read_case
from tests.providers.wire_specs import adapter_class, adapters, case_file, check_request, spec_of

MOST_IMAGES = 16
INPUT = "png 512x512"
NEEDED = {"search_prompt", "select_prompt"}
"""Fields of a provider's own without which some models can do nothing."""
OFFERINGS = [
    pytest.param(entry.model, offering, id=f"{offering.provider}-{entry.model.id}")
    for entry in read_documents(None)[1].values()
    for offering in entry.model.offerings
    if offering.provider in adapters()
]


def requests(model: Model, offering: Offering) -> list[GenerationRequest]:
    """Without a picture, with one, with as many as may be, and with a mask: those that the offering can serve."""
    features = offering.features
    drawn = [draw(INPUT, number) for number in range(min(features.get("max_input_images", 1), MOST_IMAGES))]
    one = tuple(drawn[:1])
    masked = (one, draw_mask(INPUT))
    thinking = next(iter(features.get("thinking", ())), None)
    whole = GenerationRequest(
        prompt="A red fox in snow",
        model=model.id,
        size=Size(1024, 1024),
        quality=offering.qualities[-1] if offering.qualities else None,
        style=next(iter(features.get("styles", ("vivid",)))),
        moderation="low",
        seed=7,
        steps=20,
        guidance=4.5,
        negative_prompt="blur",
        thinking=thinking,
        prompt_enhancement=True,
        user="u-17",
        extras=dict.fromkeys(NEEDED & offering.passes, "the fox"),
    )
    shown: list[tuple[tuple[InputImage, ...], InputImage | None]] = [
        ((), None),
        (one, None),
        (tuple(drawn), None),
        masked,
    ]
    made = [replace(whole, images=images, mask=mask) for images, mask in shown if images or mask is None]
    made += [replace(request, output_format=form) for request in made for form in offering.formats]
    made += [replace(request, size=Size(1536, 864), prompt_enhancement=False) for request in made[:4]]
    return [request for request in made if lack(request, offering) is None]


def call_of(
    model: Model, offering: Offering, request: GenerationRequest, n: int, home: ProviderCall
) -> ProviderCall:
    assert request.size is not None
    fitted = fit(request, model, offering, request.size, request.quality)
    return replace(
        home,
        upstream_model=fitted.upstream_model or offering.upstream_model,
        n=n,
        size=fitted.size,
        aspect=fitted.aspect,
        tier=fitted.tier,
        quality=fitted.quality,
        format=fitted.format,
        fields=fitted.fields,
        images=request.images,
        mask=draw_mask(INPUT if fitted.mask == "alpha" else f"{INPUT} grey") if request.mask else None,
    )


@pytest.mark.parametrize(("model", "offering"), OFFERINGS)
async def test_an_offering_is_asked_with_pictures_and_every_field_in_words_its_provider_takes(
    model: Model, offering: Offering, refusing: Refusing, pool: WorkPool
) -> None:
    case = read_case(offering.provider, case_file(offering.provider, "delivered"))
    spec, adapter = spec_of(offering.provider), adapter_class(offering.provider)(refusing.outbound, pool)
    served = requests(model, offering)
    known = {"generate", "edit", "inpaint"} & set(offering.features.get("operations", ["generate"]))

    assert bool(served) == bool(known), "the offering serves nothing of what it says"
    for request in served:
        for n in {1, fit(request, model, offering, Size(1024, 1024), request.quality).max_n}:
            refusing.asked.clear()
            call = call_of(model, offering, request, n, case.call)
            await outcome(adapter, call)

            assert len(refusing.asked) == 1
            check_request(spec, refusing.asked[0], call, case.key)


@pytest.mark.parametrize(("model", "offering"), OFFERINGS)
def test_an_offering_says_truly_what_it_makes_of_pictures(model: Model, offering: Offering) -> None:
    features = offering.features
    operations = set(features.get("operations", ["generate"]))
    edits = operations & {"edit", "inpaint"}

    assert operations <= set(model.operations)
    assert bool(edits) <= (features.get("max_input_images", 0) >= 1)
    assert ("inpaint" in operations) == (features.get("mask") in ("alpha", "white", "black"))
    assert features.get("edit_max_n", 1) <= offering.max_n
    assert set(features.get("edit_formats", ())) <= set(offering.formats)
    assert set(features.get("input_formats", ())) <= {"png", "jpeg", "webp", "gif", "avif"}
