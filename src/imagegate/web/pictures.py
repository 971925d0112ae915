"""The pictures of a JSON body: a URL, a data URL or base64; alone, in an object, or in a list."""

from collections.abc import Mapping
from typing import Any

from pydantic import WithJsonSchema

from imagegate.domain import InputImage
from imagegate.errors import InvalidRequest
from imagegate.generation.inputs import read_image_text
from imagegate.ids import parse_image_id

TEXT: dict[str, Any] = {"type": "string", "description": "An http or https URL, a data URL, or base64."}
KEPT: dict[str, Any] = {"type": "string", "description": "An image of an earlier answer: its image_id."}
OBJECT: dict[str, Any] = {"type": "object", "properties": {"image_url": TEXT, "image_id": KEPT}}
ONE: list[dict[str, Any]] = [TEXT, OBJECT, {"type": "null"}]
SEVERAL = [*ONE[:2], {"type": "array", "items": {"anyOf": ONE[:2]}, "maxItems": 16}, ONE[2]]
PICTURE = WithJsonSchema({"anyOf": ONE, "description": "A picture to work from."})
PICTURES = WithJsonSchema({"anyOf": SEVERAL, "description": "Pictures to work from."})
MASK = WithJsonSchema({"anyOf": ONE, "description": "Transparent where the first image is to be redrawn."})


def pictures_of(said: Any, param: str) -> tuple[InputImage, ...]:
    """One picture, or a list of them; None and an empty text are none. Raises InvalidRequest."""
    if said is None or said == "":
        return ()
    if isinstance(said, list):
        return tuple(picture_of(item, f"{param}[{index}]") for index, item in enumerate(said))
    return (picture_of(said, param),)


def picture_of(said: Any, param: str) -> InputImage:
    """A text, or an object with `image_url` (which may be an object with `url`). Raises InvalidRequest."""
    if isinstance(said, Mapping) and "image_url" not in said and "file_id" in said:
        text = f"{param}: this gateway keeps no files. Send image_url with a URL or a data URL instead of file_id."
        raise InvalidRequest(text, code="unsupported_value", param=param)
    if (
        isinstance(said, Mapping)
        and "image_url" not in said
        and isinstance(named := said.get("image_id"), str)
    ):
        if parse_image_id(named) is None:
            text = f"{param}: an image_id is as the answer gave it: gen_…_0."
            raise InvalidRequest(text, code="invalid_value", param=param)
        return InputImage(kept=named)
    url = said.get("image_url") if isinstance(said, Mapping) else said
    url = url.get("url") if isinstance(url, Mapping) else url
    if not isinstance(url, str):
        text = f"{param} should be a URL, a data URL or base64, or an object with one of these as image_url."
        raise InvalidRequest(text, code="invalid_type", param=param)
    return read_image_text(url, param)
