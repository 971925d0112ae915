"""What an image is, told from its bytes, and how another size or format is made of it.

Everything here is pure and may run in any thread. Nothing blocks but the work itself: `probe` reads headers
only (microseconds); `convert` decodes and encodes, tens of milliseconds for a megapixel.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from struct import error, unpack_from
from typing import Any
from zlib import Z_RLE

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from imagegate.domain import Size
from imagegate.errors import InvalidRequest
from imagegate.media.formats import FORMATS, NotAnImage, read_size, sniff

MAX_BYTES = 50 * 1024 * 1024
MAX_PIXELS = 40_000_000
MAX_AVIF_EDGE_PX = 1600
"""Encoding AVIF takes the longest of all formats; larger pictures keep their format."""

QUALITY = {"jpeg": 90, "webp": 80, "avif": 60}
"""Of each lossy format, where no compression is asked. They look alike; the scales differ."""


class ImageTooLarge(NotAnImage):
    """More than 40 megapixels or 50 MB."""


@dataclass(frozen=True, slots=True)
class Probe:
    """`size` is that of the stored pixels, before any EXIF orientation."""

    format: str
    size: Size

    @property
    def mime(self) -> str:
        return f"image/{self.format}"


def probe(data: bytes) -> Probe:
    """Format and size from the headers of a whole file. Raises NotAnImage, ImageTooLarge."""
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(f"is larger than {MAX_BYTES // 1024 // 1024} MB")
    found = sniff(data)
    size = read_size(data, found)
    if size.area_px > MAX_PIXELS:
        raise ImageTooLarge(f"has more than {MAX_PIXELS // 1_000_000} megapixels")
    return Probe(found.name, size)


def probe_input(data: bytes, *, param: str = "image") -> Probe:
    """`probe` for an image that a caller sent. Raises InvalidRequest `invalid_image` or `image_too_large`."""
    try:
        return probe(data)
    except ImageTooLarge as error:
        message = f"The image {error}. Send a smaller one."
        raise InvalidRequest(message, code="image_too_large", param=param) from None
    except NotAnImage as error:
        message = f"The image {error}. Send a whole PNG, JPEG, WebP, GIF or AVIF file."
        raise InvalidRequest(message, code="invalid_image", param=param) from None


def avif_allowed(size: Size) -> bool:
    """Whether a picture of this size is encoded as AVIF when that is asked."""
    return max(size.width_px, size.height_px) <= MAX_AVIF_EDGE_PX


def convert(
    data: bytes, *, size: Size | None = None, format: str | None = None, compression: int | None = None
) -> bytes:
    """The image in another size or format; `data` itself when it already is what was asked for.

    size: exact. Another shape is cut from the centre, then scaled. format: a name of `FORMATS`; AVIF above
    1,600 px keeps the source's format, so probe the answer. compression: quality 0 to 100 of a lossy format;
    asking for it always encodes. An animation keeps its first frame only. Raises NotAnImage, ImageTooLarge.
    """
    source = probe(data)
    target = size or source.size
    kind = format or source.format
    if kind not in FORMATS:
        raise ValueError(f"there is no image format {kind!r}")
    if kind == "avif" and not avif_allowed(target):
        kind = source.format
    asks_quality = compression is not None and kind in QUALITY
    if target == source.size and kind == source.format and not asks_quality:
        return data
    image = fit(upright(decode(data, source)), size)
    return encode(image, kind, compression)


OPENERS: Mapping[str, type[ImageFile.ImageFile]] = {
    "png": PngImagePlugin.PngImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
}


def decode(data: bytes, source: Probe) -> Image.Image:
    """The first frame as RGB or RGBA. The plugins are called by name: `Image.open` warns about large images
    by a process-wide limit, and `probe` has set the limit already."""
    try:
        image = OPENERS[source.format](BytesIO(data))
        if image.size != (source.size.width_px, source.size.height_px):
            raise NotAnImage(f"is a {source.format} image that states two sizes")
        image.load()
        return as_colours(image)
    except NotAnImage:
        raise
    except Exception:
        # Decoders meet hostile bytes with all kinds of exceptions: OSError, SyntaxError, IndexError, zlib.error …
        raise NotAnImage(f"is a {source.format} image that cannot be decoded") from None


def as_colours(image: Image.Image) -> Image.Image:
    """Palettes, greys, CMYK and 16 bits become RGB, or RGBA where anything is transparent. Keeps `info`."""
    info = dict(image.info)
    if image.mode == "CMYK":
        info.pop("icc_profile", None)
    if image.mode.startswith("I"):
        image = image.convert("I").point([value / 256 for value in range(65536)], "L")
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    wanted = "RGBA" if has_alpha else "RGB"
    image = image if image.mode == wanted else image.convert(wanted)
    image.info = info
    return image


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF orientation says."""
    turn = TURNS.get(orientation(image.info.get("exif", b"")))
    return image if turn is None else image.transpose(turn)


def orientation(exif: bytes) -> int:
    """Tag 0x0112 of the first directory, 1 when it is not there. Pillow's own reader warns about damaged EXIF."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (first,) = unpack_from(order + "I", tiff, 4)
        (entries,) = unpack_from(order + "H", tiff, first)
        for entry in range(entries):
            tag, kind, count, value = unpack_from(order + "HHIH", tiff, first + 2 + entry * 12)
            if (tag, kind, count) == (0x0112, 3, 1):
                return int(value)
    except error:
        return 1
    return 1


def fit(image: Image.Image, size: Size | None) -> Image.Image:
    """Exactly `size`: the largest centred part of its shape, scaled."""
    if size is None or image.size == (size.width_px, size.height_px):
        return image
    width, height = image.size
    part_width = min(width, height * size.width_px / size.height_px)
    part_height = min(height, width * size.height_px / size.width_px)
    left, top = (width - part_width) / 2, (height - part_height) / 2
    return image.resize(
        (size.width_px, size.height_px),
        Image.Resampling.LANCZOS,
        box=(left, top, left + part_width, top + part_height),
        reducing_gap=2.0,
    )


def encode(image: Image.Image, kind: str, compression: int | None) -> bytes:
    """The fastest settings that still look right: an answer waits for this. Metadata but colours is left behind."""
    options: dict[str, Any] = {}
    if kind in QUALITY:
        options["quality"] = QUALITY[kind] if compression is None else compression
    if profile := image.info.get("icc_profile"):
        options["icc_profile"] = profile
    image.info = {}
    out = BytesIO()
    PREPARED[kind](image).save(out, format=kind.upper(), **SETTINGS[kind], **options)
    return out.getvalue()


SETTINGS: Mapping[str, Mapping[str, Any]] = {
    # Filtered pixels hold few long repeats: run lengths alone are faster than level 1 and a fifth smaller.
    "png": {"compress_level": 1, "compress_type": Z_RLE},
    "jpeg": {},
    "webp": {"method": 0},
    # One thread: the pool is as wide as the cores already. Without trellis a fifth faster and a fiftieth larger.
    "avif": {"speed": 10, "max_threads": 1, "advanced": {"tune": "psnr", "disable-trellis-quant": "1"}},
    "gif": {"optimize": False},
}


def on_white(image: Image.Image) -> Image.Image:
    """JPEG has no transparency."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def as_is(image: Image.Image) -> Image.Image:
    return image


def with_palette(image: Image.Image) -> Image.Image:
    """256 colours by the octree, ten times faster than the median cut; the last one is the transparent one."""
    if image.mode == "RGB":
        return image.quantize(256, method=Image.Quantize.FASTOCTREE)
    coloured = image.convert("RGB").quantize(255, method=Image.Quantize.FASTOCTREE)
    coloured.paste(255, mask=image.getchannel("A").point([255] * 128 + [0] * 128))
    coloured.info["transparency"] = 255
    return coloured


PREPARED: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "png": as_is,
    "jpeg": on_white,
    "webp": as_is,
    "avif": as_is,
    "gif": with_palette,
}
