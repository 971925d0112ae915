"""What the clients of this folder send, and what their answers must hold."""

import base64
import io
from collections.abc import Iterable

from PIL import Image

from tests.media.pictures import encoded, picture

PNG = encoded("png", picture("RGB", 256, 256))
MASK = encoded("png", picture("RGBA", 256, 256))
PNG_BASE64, MASK_BASE64 = base64.b64encode(PNG).decode(), base64.b64encode(MASK).decode()
SMALL = {"model": "sandbox", "prompt": "a heron", "size": "256x256"}
COST = 5_000


def sizes(images: Iterable[str]) -> list[tuple[int, int]]:
    """Of images in base64, each of which must be a whole picture."""
    return [size_of(base64.b64decode(image, validate=True)) for image in images]


def size_of(data: bytes) -> tuple[int, int]:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.size
