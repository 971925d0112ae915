"""The sandbox with pictures to work from, and with every parameter that changes what it draws."""

import io
from time import thread_time
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from imagegate.catalogue.catalogue import STAND_IN, load_catalogue
from imagegate.domain import InputImage, ProviderCall, ProviderResult, Size
from imagegate.errors import ProviderRejected
from imagegate.providers.sandbox import SandboxAdapter
from imagegate.providers.sandbox.painting import Drawing, draw

SIZE = Size(192, 128)
FORMATS = ("png", "jpeg", "webp", "gif", "avif")


def encoded(picture: Image.Image, form: str = "png") -> InputImage:
    out = io.BytesIO()
    picture.save(out, form.upper())
    return InputImage(data=out.getvalue(), format=form, size=Size(*picture.size))


def chequered(size: tuple[int, int] = (192, 128), mode: str = "RGB") -> Image.Image:
    """A picture that nobody takes for a landscape."""
    picture = Image.new(mode, size, "white")
    pen = ImageDraw.Draw(picture)
    for place in range(8):
        x, y = place % 4 * size[0] // 4, place // 4 * size[1] // 2
        if (place + place // 4) % 2:
            pen.rectangle((x, y, x + size[0] // 4 - 1, y + size[1] // 2 - 1), fill="magenta")
    return picture


def masking(box: tuple[int, int, int, int], size: tuple[int, int] = (192, 128)) -> InputImage:
    """Transparent in the box, opaque elsewhere."""
    mask = Image.new("RGBA", size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), box)
    return encoded(mask)


def call(prompt: str = "a lake", size: Size = SIZE, **more: Any) -> ProviderCall:
    return ProviderCall(
        upstream_model="sandbox", prompt=prompt, size=size, base_url="", **{"n": 1, "deadline_s": 30.0} | more
    )


def opened(result: ProviderResult, at: int = 0) -> Image.Image:
    data = result.images[at].data
    assert data is not None
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def distance(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of a channel, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(a.convert("RGB"), b.convert("RGB"))).mean) / 3


@pytest.mark.parametrize("form", FORMATS)
async def test_the_picture_worked_from_is_recognised_and_changed(sandbox: SandboxAdapter, form: str) -> None:
    given = encoded(chequered(), form)

    made = opened(await sandbox.generate(call(images=(given,))))

    alone = opened(await sandbox.generate(call()))
    assert made.size == (192, 128)
    assert 5 < distance(made, chequered()) < distance(alone, chequered()) * 0.6


async def test_a_picture_of_another_size_fills_the_size_asked_for(sandbox: SandboxAdapter) -> None:
    given = encoded(chequered((384, 256)))

    made = opened(await sandbox.generate(call(images=(given,))))

    small = opened(await sandbox.generate(call(images=(encoded(chequered()),))))
    assert made.size == (192, 128)
    assert distance(made, small) < 6


async def test_another_prompt_or_seed_changes_the_picture_in_another_way(sandbox: SandboxAdapter) -> None:
    given = (encoded(chequered()),)
    calls = [call(images=given), call("a desert", images=given), call(images=given, fields={"seed": 7})]

    made = [opened(await sandbox.generate(one)) for one in calls]

    again = opened(await sandbox.generate(calls[0]))
    assert made[0].tobytes() == again.tobytes()
    assert len({picture.tobytes() for picture in made}) == 3


async def test_only_what_the_mask_leaves_transparent_is_redrawn(sandbox: SandboxAdapter) -> None:
    box = (40, 30, 150, 128)

    result = await sandbox.generate(call(images=(encoded(chequered()),), mask=masking(box)))

    made, kept = opened(result), chequered()
    changed = ImageChops.difference(made.convert("RGB"), kept)
    assert distance(made.crop(box), kept.crop(box)) > 30
    changed.paste((0, 0, 0), box)
    assert changed.getbbox() is None


async def test_the_pictures_of_one_edit_differ_under_a_mask_too(sandbox: SandboxAdapter) -> None:
    result = await sandbox.generate(call(images=(encoded(chequered()),), mask=masking((0, 0, 96, 128)), n=3))

    assert len({image.data for image in result.images}) == 3


async def test_what_is_transparent_in_the_picture_itself_shows_what_is_painted(
    sandbox: SandboxAdapter,
) -> None:
    given = chequered(mode="RGBA")
    given.paste((0, 0, 0, 0), (0, 0, 96, 128))

    made = opened(await sandbox.generate(call(images=(encoded(given),))))

    alone = opened(await sandbox.generate(call()))
    assert distance(made.crop((0, 0, 96, 80)), alone.crop((0, 0, 96, 80))) < 1
    assert distance(made.crop((96, 0, 192, 80)), alone.crop((96, 0, 192, 80))) > 20


@pytest.mark.parametrize("mask", [None, masking((60, 40, 192, 128))])
async def test_further_pictures_lie_upon_the_first_as_small_ones(
    sandbox: SandboxAdapter, mask: InputImage | None
) -> None:
    red, blue = (encoded(Image.new("RGB", (300, 300), colour)) for colour in ("#ff0000", "#0000ff"))

    made = opened(await sandbox.generate(call(images=(encoded(chequered()), red, blue), mask=mask)))

    counted = {colour: count for count, colour in made.convert("RGB").getcolors(100_000) or []}
    edge = min(132, 88) // 5 if mask else 128 // 5
    assert counted[255, 0, 0] == counted[0, 0, 255] == edge**2


async def test_sixteen_pictures_are_taken(sandbox: SandboxAdapter) -> None:
    given = tuple(encoded(Image.new("RGB", (40, 30), (place * 9, 90, 200))) for place in range(16))

    made = opened(await sandbox.generate(call(images=given)))

    fewer = opened(await sandbox.generate(call(images=given[:15])))
    assert made.tobytes() != fewer.tobytes()


async def test_a_picture_that_cannot_be_read_is_refused(sandbox: SandboxAdapter) -> None:
    broken = InputImage(data=b"\x89PNG\r\n\x1a\nno more", format="png")

    with pytest.raises(ProviderRejected) as refused:
        await sandbox.generate(call(images=(broken,)))

    assert refused.value.param == "image"


@pytest.mark.parametrize(
    "fields",
    [
        {"style": "vivid"},
        {"style": "natural"},
        {"style": "ukiyo-e"},
        {"steps": 4},
        {"steps": 50},
        {"guidance": 2.0},
        {"guidance": 12.5},
        *({"thinking": word} for word in STAND_IN["thinking"]),  # type: ignore[attr-defined]
        {"negative_prompt": "lakes"},
        {"prompt_enhancement": True},
    ],
    ids=str,
)
async def test_a_parameter_changes_the_picture_always_in_the_same_way(
    sandbox: SandboxAdapter, fields: dict[str, Any]
) -> None:
    first = await sandbox.generate(call(fields=fields))
    second = await sandbox.generate(call(fields=fields))

    plain = await sandbox.generate(call())
    assert opened(first).tobytes() == opened(second).tobytes() != opened(plain).tobytes()


async def test_fewer_steps_leave_the_picture_blurred(sandbox: SandboxAdapter) -> None:
    few, many = [opened(await sandbox.generate(call(fields={"steps": steps}))) for steps in (3, 40)]

    assert blurred(few) > blurred(many)


def blurred(picture: Image.Image) -> float:
    """The share of neighbours of about the same colour, over the caption."""
    above = picture.convert("L").crop((0, 0, 192, 96))
    beside = ImageChops.difference(above, ImageChops.offset(above, 1, 0))
    return sum(beside.histogram()[:4]) / (192 * 96)


async def test_what_the_negative_prompt_names_is_not_there(sandbox: SandboxAdapter) -> None:
    said = await sandbox.generate(call("a cat in a green meadow", fields={"negative_prompt": "cats, green"}))

    unsaid = opened(await sandbox.generate(call("a cat in a green meadow")))
    assert distance(opened(said), unsaid) > 3


async def test_an_enhanced_prompt_is_told_and_drawn(sandbox: SandboxAdapter) -> None:
    result = await sandbox.generate(call("a lake", fields={"prompt_enhancement": True}))

    revised = result.images[0].revised_prompt
    assert revised is not None
    assert revised.startswith("a lake, ")
    assert opened(result).tobytes() == opened(await sandbox.generate(call(revised))).tobytes()


async def test_nothing_is_told_of_a_prompt_that_was_left_alone(sandbox: SandboxAdapter) -> None:
    result = await sandbox.generate(call("a lake", fields={"prompt_enhancement": False}))

    assert result.images[0].revised_prompt is None
    assert opened(result).tobytes() == opened(await sandbox.generate(call("a lake"))).tobytes()


def test_the_sandbox_under_its_own_name_does_what_it_does_for_others() -> None:
    offering = load_catalogue().models["imagegate/sandbox"].offerings[0]

    own = {name: tuple(v) if isinstance(v, list) else v for name, v in offering.features.items()}
    assert own == dict(STAND_IN)


def test_an_edit_of_a_megapixel_takes_little_of_a_core() -> None:
    """Of this thread's own time, the best of five: what else a machine does is not meant, nor how slow it is."""
    pictures = tuple(encoded(chequered((1024, 1024))).data or b"" for _ in range(2))
    drawing = Drawing("a lake", 0, Size(1024, 1024), pictures=pictures)
    draw(drawing)

    took_s = []
    for _ in range(5):
        started = thread_time()
        draw(drawing)
        took_s.append(thread_time() - started)

    assert min(took_s) < 0.3
