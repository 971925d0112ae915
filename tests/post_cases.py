"""What the tests of creating calls share: one call, and a port where nobody listens."""

import socket

from imagegate.outbound import Answer, Outbound
from tests.fake_provider import KEY

BODY = {"model": "gpt-image-2.5-flare", "prompt": "a secret fox", "n": 1, "size": "1024x1024"}


async def post(
    outbound: Outbound, base_url: str, *, timeout_s: float = 5.0, max_bytes: int = 10_000_000
) -> Answer:
    return await outbound.post_json(
        f"{base_url}/images/generations",
        body=BODY,
        headers={"Authorization": f"Bearer {KEY}"},
        provider="fake",
        timeout_s=timeout_s,
        max_bytes=max_bytes,
    )


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
