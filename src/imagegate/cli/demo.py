"""`imagegate demo`: from nothing to a picture over HTTP, with a key that works."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, actor
from imagegate.cli.serve import PortOption
from imagegate.errors import OperatorError

if TYPE_CHECKING:
    import socket

    from imagegate.services import Services

HOST = "127.0.0.1"
ACCOUNT = "demo"
PROMPT = "a lighthouse on a cliff at sunset"
LONGEST_S = 60.0

SHOWN = """\
Picture   {image}
          {size} pixels, {bytes:,} bytes, drawn in {seconds:.1f} s for {charged_tokens:,} tokens
API base  {base_url}
Test key  {api_key}
Console   {console}

from openai import OpenAI
client = OpenAI(base_url="{base_url}", api_key="{api_key}")
reply = client.images.generate(model="sandbox", prompt="{prompt}")
print(reply.data[0].url)
"""


def demo(
    port: PortOption = None,
    leave: Annotated[bool, typer.Option("--exit", help="Draw, then leave instead of serving on.")] = False,
    json: Json = False,
) -> None:
    """See it work: a database, an account, a key, and a picture drawn over HTTP. Then it serves on."""
    import uvloop

    async def work(desk: Desk) -> None:
        from imagegate.cli.console import sign_in_link
        from imagegate.cli.listener import base_url

        settings = desk.settings(host=HOST, port=port)
        with closing(claim(settings.port, leave)) as listener:
            from imagegate.cli import gateway

            with gateway.on_signals(desk.say) as stop:
                async with desk.services(settings) as services:
                    key = await demo_key(services)
                    async with gateway.listening(services, listener, stop, "demo") as serving:
                        with desk.progress("Drawing a picture"):
                            shown = await draw(
                                f"{base_url(listener)}/v1", key, settings.data_dir / "demo.png"
                            )
                        shown["console"] = sign_in_link(services.keyring, base_url(listener))
                        desk.answer(shown, SHOWN.format(**shown))
                        if not leave:
                            desk.say("Serving on. Stop with Ctrl-C.")
                            await serving

    run(work, json=json, loop_factory=uvloop.new_event_loop)


def claim(port: int, leave: bool) -> "socket.socket":
    """The port; for a demo that leaves at once, any other when it is taken."""
    from imagegate.cli.listener import bind

    try:
        return bind(HOST, port, "demo")
    except OperatorError:
        if not leave:
            raise
        return bind(HOST, 0, "demo")


async def demo_key(services: "Services") -> str:
    """The key kept from last time, if it still is the demo account's; else a new one."""
    from imagegate.admin import keys
    from imagegate.cli.image import ensure_account
    from imagegate.errors import Unauthenticated
    from imagegate.identity.audit import Actor
    from imagegate.identity.keys import Labels, get_account

    await ensure_account(services, ACCOUNT)
    file = services.settings.data_dir / "demo-key"
    async with services.engine.begin() as tx:
        account_id = await get_account(tx, ACCOUNT)
        try:
            kept = file.read_text().strip() if file.is_file() else ""
            principal = await services.keys.find(kept)
            if (principal.account_id, principal.env) == (account_id, "test"):
                return kept
        except Unauthenticated:
            pass
        pepper, by = services.keyring.key_pepper, Actor(actor(), "the key of `imagegate demo`")
        made = await keys.create_key(tx, pepper, ACCOUNT, "test", Labels(app=ACCOUNT), None, by)
    keep(file, made.plain or "")
    return made.plain or ""


def keep(file: Path, key: str) -> None:
    """Written aside and renamed: readable for nobody else at any moment, and never half there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(key + "\n")
    aside.replace(file)


async def draw(api: str, key: str, target: Path) -> dict[str, Any]:
    """Ask for a picture as any caller would, over HTTP. Raises OperatorError with what the gateway said."""
    import asyncio
    from time import monotonic

    import pybase64

    began = monotonic()
    reply = await asyncio.to_thread(post, f"{api}/images/generations", key)
    seconds = monotonic() - began
    data = pybase64.b64decode(reply["data"][0]["b64_json"])
    write(target, data)
    return {
        "image": str(target),
        "size": reply["size"],
        "bytes": len(data),
        "seconds": round(seconds, 3),
        "charged_tokens": reply["metadata"]["charged_tokens"],
        "base_url": api,
        "api_key": key,
        "account": ACCOUNT,
        "prompt": PROMPT,
    }


def write(target: Path, data: bytes) -> None:
    """Raises OperatorError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    except OSError as error:
        raise OperatorError(f"{target} cannot be written: {error.strerror}. Next: imagegate doctor") from None


def post(url: str, key: str) -> dict[str, Any]:
    """Loopback only, whatever proxy the environment names."""
    import json
    import urllib.error
    import urllib.request

    body = {"model": "sandbox", "prompt": PROMPT, "response_format": "b64_json", "output_format": "png"}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 http to ourselves
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=LONGEST_S) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        said = json.loads(error.read())["error"]
        hint = " Top up: imagegate wallets top-up --account demo --env test --tokens 100000000 --reason demo"
        raise OperatorError(said["message"] + (hint if error.code == 402 else "")) from None
    except OSError as error:
        raise OperatorError(f"The demo could not reach its own server at {url}: {error}") from None
