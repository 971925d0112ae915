"""What OpenAPI is told of OpenAI's routes that make images."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from imagegate.web.openapi import described

TOLD: dict[str, Any] = {
    "created": 1_795_300_566,
    "data": [
        {
            "url": "https://images.example/media/1795304166/Rk5b/gen.png",
            "b64_json": "iVBORw0KGgo…",
            "image_id": "gen_01a2003f2944_0",
        }
    ],
    "size": "1024x1024",
    "output_format": "png",
    "metadata": {
        "id": "gen_01a2003f2944",
        "model": "openai/dall-e-3",
        "provider": "openai",
        "charged_tokens": 80_000,
        "parameters": {"size": {"treatment": "passed"}},
    },
}
STREAMED = {
    "text/event-stream": {"schema": {"type": "string", "description": "With stream: true."}},
}


def making(
    body: type[BaseModel], said: Mapping[str, Any], form: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`openapi_extra` of a route. said: a body as an example. form: the schema of a multipart body."""
    return described(body, said=said, told=TOLD, form=form, more=STREAMED)
