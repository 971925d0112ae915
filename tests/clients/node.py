"""Clients of Node.js: installed once into a cache beside the repository, and run as processes of their own."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MANIFEST = HERE / "package.json"
SCRIPTS = HERE / "scripts"
LONGEST_INSTALL_S = 180
LONGEST_RUN_S = 60
INSTALL = ("install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")


class Unavailable(Exception):
    """Why no client of Node.js can be run here."""


@dataclass(frozen=True)
class Node:
    """`folder`: where the clients are installed."""

    folder: Path

    async def run(self, script: str, **variables: Any) -> Any:
        """What the script prints, as JSON. Variables reach it as environment, in capitals, lists as JSON."""
        source = "\n".join(Path(SCRIPTS, f"{name}.mjs").read_text() for name in ("prelude", script))
        texts = {k.upper(): v if isinstance(v, str) else json.dumps(v) for k, v in variables.items()}
        # From standard input, so that its imports are looked for in the folder it runs in.
        process = await asyncio.create_subprocess_exec(
            "node",
            "--input-type=module",
            "-",
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **texts},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LONGEST_RUN_S):
                out, err = await process.communicate(source.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()
        return json.loads(out)


def install() -> Node:
    """Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Unavailable("Node.js and npm are not installed")
    manifest = MANIFEST.read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "imagegate-tests")
    folder = cache / f"clients-{hashlib.sha256(manifest).hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as aside:
            Path(aside, MANIFEST.name).write_bytes(manifest)
            fetch(npm, Path(aside))
            made = Path(aside).rename(folder.with_name(f"{folder.name}.{os.getpid()}"))
        try:
            made.rename(folder)
        except OSError:  # another run was quicker
            shutil.rmtree(made)
    return Node(folder)


def fetch(npm: str, folder: Path) -> None:
    try:
        subprocess.run(
            [npm, *INSTALL],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_INSTALL_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm install did not end within {LONGEST_INSTALL_S} s") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"npm install failed: {error.stderr.strip()[-400:]}") from None
