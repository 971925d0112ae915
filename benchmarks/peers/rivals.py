"""How each peer is started on loopback, in front of an upstream that speaks OpenAI's images.

None of them keeps money, records or pictures; LiteLLM, which would ask for keys, is started without.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.options import ENDING
from benchmarks.peers.installing import Tool
from benchmarks.peers.nginx import proxying
from benchmarks.processes import Command, free_port, running, wait_ready
from benchmarks.scenarios import Target

READY_S = 180.0

Start = Callable[[str, Path, frozenset[int] | None], AbstractContextManager[Target]]
"""(base URL of the upstream, a folder of its own, the cores it may use) → who answers, until the end."""


@dataclass(frozen=True, slots=True)
class Peer:
    """does: what it does besides passing a request on, in the words of the table."""

    name: str
    version: str
    does: str
    start: Start
    note: str = ""


@contextmanager
def start_direct(base_url: str, _folder: Path, _cores: frozenset[int] | None) -> Iterator[Target]:
    yield Target("direct", base_url + ENDING)


DIRECT = Peer("direct", "", "nothing: the load calls the upstream", start_direct)


def nginx_peer(tool: Tool) -> Peer:
    @contextmanager
    def start(base_url: str, folder: Path, cores: frozenset[int] | None) -> Iterator[Target]:
        parts = urlsplit(base_url)
        with proxying(tool, folder, parts.netloc, cores) as (port, pid):
            yield Target("nginx", f"http://127.0.0.1:{port}{parts.path}{ENDING}", pid=pid)

    return Peer("nginx", tool.version, "passes bytes on, connections kept alive", start, tool.note)


LOOPBACK_ONLY = """
const net = require('node:net')
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  return Number.isInteger(port) && typeof rest[0] !== 'string'
    ? listen.call(this, port, '127.0.0.1', ...rest.filter((one) => one !== undefined))
    : listen.call(this, port, ...rest)
}
"""
"""Portkey has no option for its address and would listen on all."""


def portkey_peer(tool: Tool) -> Peer:
    @contextmanager
    def start(base_url: str, folder: Path, cores: frozenset[int] | None) -> Iterator[Target]:
        folder.mkdir(parents=True, exist_ok=True)
        shim = folder / "loopback.cjs"
        shim.write_text(LOOPBACK_ONLY)
        port = free_port()
        node, script = tool.command
        args = (node, "--require", str(shim), script, f"--port={port}", "--headless")
        command = Command(args, folder / "portkey.log", {"NODE_ENV": "production"}, cores)
        to = ("x-portkey-provider: openai", f"x-portkey-custom-host: {base_url}")
        headers = ("authorization: Bearer bench", *to)
        with running(command) as process:
            wait_ready(process, command, port, "/", timeout_s=READY_S)
            yield Target("portkey", f"http://127.0.0.1:{port}/v1{ENDING}", headers, pid=process.pid)

    does = "chooses a provider by header; no keys, no database, no pictures kept"
    return Peer("portkey", tool.version, does, start, tool.note)


LITELLM_ENV = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}
"""No look-up of prices in the network, no log of each request, no keys: all of it in its favour."""


def litellm_peer(name: str, tool: Tool) -> Peer:
    @contextmanager
    def start(base_url: str, folder: Path, cores: frozenset[int] | None) -> Iterator[Target]:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.json"  # YAML reads JSON
        config.write_text(json.dumps(litellm_config(base_url)))
        port = free_port()
        args = ("--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False")
        command = Command((*tool.command, *args), folder / "litellm.log", LITELLM_ENV, cores)
        with running(command) as process:
            wait_ready(process, command, port, "/health/liveliness", timeout_s=READY_S)
            yield Target(name, f"http://127.0.0.1:{port}/v1{ENDING}", pid=process.pid)

    does = "routes by model name, counts cost in memory; no keys, no database, no pictures kept"
    return Peer(name, tool.version, does, start, tool.note)


def litellm_config(base_url: str) -> dict[str, object]:
    model = "gpt-image-2.5-flare"
    upstream = {"model": f"openai/{model}", "api_base": base_url, "api_key": "bench"}
    entry = {"model_name": model, "litellm_params": upstream, "model_info": {"mode": "image_generation"}}
    return {"model_list": [entry], "litellm_settings": {"drop_params": True, "telemetry": False}}
