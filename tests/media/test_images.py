"""Probing and converting images."""

from concurrent.futures import ThreadPoolExecutor
from struct import pack

import pytest
from PIL import Image, ImageCms

from imagegate.domain import Size
from imagegate.errors import InvalidRequest
from imagegate.media.formats import NotAnImage
from imagegate.media.images import (
    MAX_BYTES,
    ImageTooLarge,
    Probe,
    avif_allowed,
    convert,
    orientation,
    probe,
    probe_input,
)
from tests.media.pictures import FORMATS, encoded, opened, picture
from tests.media.test_formats import END, PIXELS, header, png_with

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def colour(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """Rounded, since lossy formats come near only."""
    pixel = image.convert("RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    return tuple(255 if value > 192 else 0 if value < 64 else value for value in pixel)


def turned(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_format_and_size_come_from_the_bytes(format: str) -> None:
    found = probe(encoded(format))

    assert found == Probe(format, Size(64, 40))
    assert found.mime == f"image/{format}"


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = png_with(header(60_000, 60_000), PIXELS, END)

    with pytest.raises(ImageTooLarge):
        probe(bomb)
    with pytest.raises(ImageTooLarge):
        convert(bomb, size=Size(8, 8))


def test_forty_megapixels_are_the_most() -> None:
    assert probe(png_with(header(8000, 5000), PIXELS, END)).size == Size(8000, 5000)
    with pytest.raises(ImageTooLarge):
        probe(png_with(header(8000, 5001), PIXELS, END))


def test_a_file_above_the_limit_is_refused_unread() -> None:
    with pytest.raises(ImageTooLarge):
        probe(encoded("png").ljust(MAX_BYTES + 1, b"\0"))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encoded("png")[:-1], "invalid_image"),
        (b"%PDF-1.7", "invalid_image"),
        (png_with(header(60_000, 60_000), PIXELS, END), "image_too_large"),
    ],
)
def test_a_callers_image_is_refused_with_code_and_field(data: bytes, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        probe_input(data, param="mask")

    assert (refused.value.status, refused.value.code, refused.value.param) == (400, code, "mask")


def test_a_callers_good_image_is_probed() -> None:
    assert probe_input(encoded("webp")) == Probe("webp", Size(64, 40))


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_right_already_is_the_same_object(format: str) -> None:
    data = encoded(format)

    assert convert(data) is data
    assert convert(data, size=Size(64, 40), format=format) is data


@pytest.mark.parametrize("format", ["png", "gif"])
def test_compression_means_nothing_to_a_lossless_format(format: str) -> None:
    data = encoded(format)

    assert convert(data, compression=10) is data


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_compression_is_the_quality_of_a_lossy_format(format: str) -> None:
    noisy = Image.effect_noise((128, 128), 60).convert("RGB")
    data = encoded("png", noisy)

    low, high = (convert(data, format=format, compression=quality) for quality in (0, 100))

    assert len(low) * 2 < len(high)
    assert convert(high, compression=50) is not high


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_format_becomes_every_other_in_another_size(source: str, target: str) -> None:
    converted = convert(encoded(source), size=Size(96, 60), format=target)

    assert probe(converted) == Probe(target, Size(96, 60))
    image = opened(converted)
    assert (colour(image, 10, 10), colour(image, 86, 50)) == (RED, BLUE)


def test_another_shape_is_cut_from_the_centre() -> None:
    image = Image.new("RGB", (300, 100), WHITE)
    image.paste(RED, (0, 0, 100, 100))
    image.paste(BLUE, (200, 0, 300, 100))

    square = opened(convert(encoded("png", image), size=Size(50, 50)))
    tall = opened(convert(encoded("png", image.transpose(Image.Transpose.ROTATE_90)), size=Size(50, 50)))

    for cut in (square, tall):
        assert cut.size == (50, 50)
        assert {colour(cut, x, y) for x in (2, 25, 47) for y in (2, 25, 47)} == {WHITE}


@pytest.mark.parametrize("size", [Size(1, 1), Size(1, 200), Size(200, 1), Size(63, 41), Size(640, 400)])
def test_the_size_is_exact(size: Size) -> None:
    assert probe(convert(encoded("png"), size=size)).size == size


def test_transparency_is_kept_where_the_format_can_and_white_where_it_cannot() -> None:
    data = encoded("png", picture("RGBA"))

    for format in ("webp", "avif", "gif"):
        kept = opened(convert(data, format=format)).convert("RGBA")
        assert (kept.getpixel((5, 35))[3], kept.getpixel((5, 5))[3]) == (0, 255)  # type: ignore[index]
    flat = opened(convert(data, format="jpeg"))
    assert (colour(flat, 5, 5), colour(flat, 5, 35)) == (RED, WHITE)


def test_a_transparent_colour_of_a_palette_is_transparency() -> None:
    image = picture().quantize(4)
    data = encoded("png", image, transparency=image.getpixel((60, 5)))

    flat = opened(convert(data, format="jpeg"))

    assert (colour(flat, 5, 5), colour(flat, 60, 5)) == (RED, WHITE)


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    image = Image.new("I;16", (8, 8), 32_768)

    converted = opened(convert(encoded("png", image), format="webp"))

    assert converted.convert("L").getpixel((4, 4)) == pytest.approx(128, abs=3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_every_colour_mode_can_be_converted(mode: str) -> None:
    image = picture("L").convert(mode) if mode != "LA" else picture("LA")
    data = encoded("jpeg" if mode == "CMYK" else "png", image)

    for format in ("jpeg", "webp", "avif", "gif"):
        assert probe(convert(data, format=format, size=Size(32, 20))).size == Size(32, 20)


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_applied(value: int) -> None:
    image = Image.new("RGB", (64, 32), WHITE)
    image.paste(RED, (0, 0, 16, 16))
    corner = {1: (4, 4), 2: (59, 4), 3: (59, 27), 4: (4, 27), 5: (4, 4), 6: (27, 4), 7: (27, 59), 8: (4, 59)}[
        value
    ]

    upright = opened(convert(encoded("jpeg", image, exif=turned(value)), format="png"))

    assert upright.size == ((64, 32) if value < 5 else (32, 64))
    assert colour(upright, *corner) == RED
    assert "exif" not in upright.info


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", bytes(40)]
)
def test_damaged_exif_means_upright(exif: bytes) -> None:
    assert orientation(exif) == 1


def test_both_byte_orders_of_exif_are_read() -> None:
    little = b"II*\0" + pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
    big = b"MM\0*" + pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 8, 0)

    assert (orientation(little), orientation(b"Exif\0\0" + big)) == (6, 8)


def test_the_colour_profile_goes_along() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded("png", icc_profile=profile)

    for format in ("jpeg", "webp", "avif"):
        assert opened(convert(data, format=format)).info["icc_profile"] == profile


def test_avif_above_its_limit_keeps_the_sources_format() -> None:
    wide = encoded("png", Image.new("RGB", (1601, 8)))

    assert convert(wide, format="avif") is wide
    assert probe(convert(wide, format="avif", size=Size(1600, 8))) == Probe("avif", Size(1600, 8))
    assert probe(convert(encoded("webp"), format="avif", size=Size(1601, 40))) == Probe(
        "webp", Size(1601, 40)
    )


def test_the_first_frame_of_an_animation_is_converted() -> None:
    frames = [Image.new("RGB", (16, 16), BLUE)]
    data = encoded("gif", Image.new("RGB", (16, 16), RED), save_all=True, append_images=frames)

    assert colour(opened(convert(data, format="png")), 8, 8) == RED


@pytest.mark.parametrize(
    "data",
    [
        png_with(header(64, 40), PIXELS, END),
        encoded("jpeg")[:-60] + b"\0" * 58 + b"\xff\xd9",
        encoded("webp")[:40].ljust(len(encoded("webp")), b"\xff"),
    ],
    ids=["too few pixels", "damaged jpeg", "damaged webp"],
)
def test_pixels_that_cannot_be_decoded_are_no_image(data: bytes) -> None:
    try:
        converted = convert(data, format="png", size=Size(5, 5))
    except NotAnImage:
        return

    assert data.startswith(b"\xff\xd8"), "only JPEG decoders go on behind damage"
    assert probe(converted).size == Size(5, 5)


def test_a_second_header_cannot_smuggle_a_larger_size_in() -> None:
    with pytest.raises(NotAnImage, match="states two sizes"):
        convert(png_with(header(4, 1), header(9000, 9000), PIXELS, END), format="jpeg")


def test_an_unknown_format_is_a_bug() -> None:
    with pytest.raises(ValueError, match="tiff"):
        convert(encoded("png"), format="tiff")


def test_many_threads_convert_at_once_and_agree() -> None:
    data = encoded("png", picture("RGBA"))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: convert(data, format="webp", size=Size(33, 21)), range(64)))

    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("size", "allowed"), [(Size(1600, 1600), True), (Size(1601, 1), False), (Size(1, 1601), False)]
)
def test_avif_is_for_edges_up_to_1600_pixels(size: Size, allowed: bool) -> None:
    assert avif_allowed(size) is allowed
