"""What an edit with a large picture costs a gateway in memory.

    python -m benchmarks.uploads                  # about half a minute

A picture of 10 MB is handed in, once as a form and once as base64 in JSON, to a provider that takes forms and to one
that takes base64, each in a fresh process. Before it a small edit warms the process up; then the kernel's mark of the
highest resident memory is set back. What is told is how far one edit lifts it, in MB and as a multiple of the body.
"""

import argparse
import base64
import http.client
import json
import os
import secrets
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.gateway import Gateway, books, create_key, parse_command, serving
from benchmarks.machine import cpu_model
from benchmarks.probes import peak_rss_mib, rss_mib
from benchmarks.processes import BenchmarkError, get_status
from benchmarks.upstream import as_png, images_answer, small_png

PATH = "/v1/images/edits"
PICTURE_MB = 10.0
MB = 1024 * 1024
READ_BYTES = 256 * 1024
TURNS = 3
BOUNDARY = secrets.token_hex(16)
MODELS = {
    "a provider that takes forms": "openai:openai/gpt-image-2.5-flare",
    "a provider that takes base64": "xai:xai/grok-imagine-image-2.0",
    "the sandbox": "sandbox",
}


@dataclass(frozen=True, slots=True)
class Body:
    kind: str
    content: bytes


def noisy_png(mb: float) -> bytes:
    """A picture that deflate finds nothing in: as many bytes as its pixels have."""
    width = 1024
    height = int(mb * MB) // (3 * width)
    return as_png(Image.frombytes("RGB", (width, height), secrets.token_bytes(3 * width * height)))


def as_form(fields: dict[str, str], png: bytes) -> Body:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
    texts = "".join(f"{part % name}{value}\r\n" for name, value in fields.items())
    head = f"{texts}{part % 'image'}".encode()
    return Body(f"multipart/form-data; boundary={BOUNDARY}", head + png + f"\r\n--{BOUNDARY}--\r\n".encode())


def as_json(fields: dict[str, str], png: bytes) -> Body:
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return Body("application/json", json.dumps({**fields, "images": [{"image_url": url}]}).encode())


class Handler(BaseHTTPRequestHandler):
    """Reads a body to its end, keeps nothing of it, and answers with a small picture."""

    protocol_version = "HTTP/1.1"
    answer = images_answer(small_png())

    def do_POST(self) -> None:
        left = int(self.headers.get("content-length", "0"))
        while left > 0:
            left -= len(self.rfile.read(min(left, READ_BYTES)))
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def upstream() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def edit(port: int, key: str, body: Body) -> None:
    """Raises BenchmarkError when it is not answered with an image."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"authorization": f"Bearer {key}", "content-type": body.kind}
    connection.request("POST", PATH, body=body.content, headers=headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise BenchmarkError(
            f"an edit was answered with {answer.status}: {said[:300].decode(errors='replace')}"
        )


def lifted_mib(pid: int, port: int, key: str, body: Body) -> float:
    """How far one edit lifts the process above what it has."""
    before = rss_mib(pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    edit(port, key, body)
    return peak_rss_mib(pid) - before


def measure(gateway: Gateway, key: str, model: str, png: bytes, manner: str) -> tuple[float, float]:
    """MiB of the worst of a few edits, in a fresh process that has made a small one; and as a multiple of the body."""
    fields = {"model": model, "prompt": "a boat", "size": "1024x1024"}
    write = as_form if manner == "form" else as_json
    with serving(gateway, cores=None) as served:
        edit(served.port, key, write(fields, small_png()))
        if get_status(served.port, "/readyz") != 200:
            raise BenchmarkError("the gateway is not ready any more")
        body = write(fields, png)
        mib = max(lifted_mib(served.pid, served.port, key, body) for _ in range(TURNS))
    return mib, mib * MB / len(body.content)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure the memory that an edit with a large picture takes."
    )
    parser.add_argument("--mb", type=float, default=PICTURE_MB, help="of the picture")
    parser.add_argument("--gateway-command", help="instead of this environment's python -m imagegate")
    options = parser.parse_args()
    png = noisy_png(options.mb)
    print(
        f"{cpu_model()}; a picture of {len(png) / MB:.1f} MB, the worst of {TURNS} edits in a fresh process\n"
    )
    print("| handed in as | goes to | MB above the base | times the body |\n|---|---|---:|---:|")
    with (
        TemporaryDirectory(prefix="imagegate-bench-", ignore_cleanup_errors=True) as name,
        upstream() as port,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        os.environ["IMAGEGATE_XAI_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
        os.environ["IMAGEGATE_XAI_API_KEY"] = "bench"
        gateway = Gateway(parse_command(options.gateway_command), folder, port)
        with books(gateway):
            key = create_key(gateway)
            for manner in ("form", "JSON"):
                for place, model in MODELS.items():
                    mib, times = measure(gateway, key, model, png, manner)
                    print(f"| {manner} | {place} | {mib:.1f} | {times:.2f} |", flush=True)


if __name__ == "__main__":
    main()
