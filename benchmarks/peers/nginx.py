"""nginx twice: as the upstream that answers at once, and as the limit of what proxying can be."""

import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.installing import Tool
from benchmarks.processes import BenchmarkError, Command, free_port, running, wait_ready
from benchmarks.upstream import images_answer, large_png, small_png

READY_S = 20.0
TEMPORARY = "\n".join(
    f"  {name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
COMMON = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  sendfile on;
{temporary}
{rest}
}}
"""
# A file answers GET only; 405 for a POST leads to it, as a 200, without a copy of the body being kept.
STATIC = """
  open_file_cache max=10 inactive=600s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder};
    etag off;
    location = /ready {{ return 200; }}
    location = /stats {{ stub_status; }}
    location = /small/v1/images/generations {{ error_page 405 =200 /small.json; return 405; }}
    location = /large/v1/images/generations {{ error_page 405 =200 /large.json; return 405; }}
  }}
"""
PROXY = """
  upstream provider {{
    server {upstream};
    keepalive 2048;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /ready {{ return 200; }}
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_max_temp_file_size 0;
      proxy_buffers 16 16k;
      proxy_read_timeout 120s;
    }}
  }}
"""


@contextmanager
def started(tool: Tool, folder: Path, rest: str, port: int, cores: frozenset[int] | None) -> Iterator[int]:
    """One process that answers /ready. Yields its process id."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(COMMON.format(temporary=TEMPORARY, rest=rest))
    args = (*tool.command, "-p", f"{folder}/", "-e", "error.log", "-c", str(config))
    command = Command(args, folder / "nginx.log", tool.env, cores)
    with running(command) as process:
        wait_ready(process, command, port, "/ready", timeout_s=READY_S)
        yield process.pid


@contextmanager
def answering(tool: Tool, folder: Path, cores: frozenset[int] | None) -> Iterator[int]:
    """The upstream: `/small/v1` and `/large/v1` answer at once. Yields its port."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in (("small", small_png()), ("large", large_png())):
        answer = images_answer(png)
        (folder / f"{name}.json").write_bytes(answer[answer.index(b"\r\n\r\n") + 4 :])
    port = free_port()
    with started(tool, folder, STATIC.format(port=port, folder=folder), port, cores):
        yield port


@contextmanager
def proxying(
    tool: Tool, folder: Path, upstream: str, cores: frozenset[int] | None
) -> Iterator[tuple[int, int]]:
    """In front of `upstream`, a host and a port. Yields its port and process id."""
    port = free_port()
    with started(tool, folder, PROXY.format(port=port, upstream=upstream), port, cores) as pid:
        yield port, pid


def count_requests(port: int) -> int:
    """How many requests the upstream has had, this one included."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/stats")
        found = re.search(r"requests\s+\d+ \d+ (\d+)", connection.getresponse().read().decode())
    finally:
        connection.close()
    if not found:
        raise BenchmarkError("the upstream does not tell what it was asked")
    return int(found[1])
