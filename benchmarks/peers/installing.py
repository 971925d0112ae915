"""Peers and tools, as their registries have them, in a cache folder of their own.

Whatever cannot be had is told with its reason and not run. Where packages come from is the user's own configuration of
pip, npm and apt; nothing of it is kept.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

LITELLM_VERSIONS = ("1.109.1", "1.106.0")
"""Newest first. The second is the newest that resolved as it is on 2026-11-22."""
LITELLM_LOOSE = ("certifi", "litellm-proxy-extras")
"""Root certificates and migrations of a database: neither is used by what is measured, so their bounds may give way."""
LITELLM_BESIDE = ("opentelemetry-sdk", "httptools")
PORTKEY = ("@portkey-ai/gateway", "1.15.2")
INSTALL_S = 900.0
MOST_REASON = 160
ADDRESS = re.compile(r"\S*(?:https?|file)://\S*")


@dataclass(frozen=True, slots=True)
class Tool:
    """What was installed: how it is started, its version, and what is worth knowing about the installation."""

    command: tuple[str, ...]
    version: str
    note: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be had, and why."""

    reason: str


class InstallError(Exception):
    """A package client refused, hung or is not there."""


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagegate-bench"


def install(make: Callable[[Path], Tool], folder: Path) -> Tool | Missing:
    """Once: what was installed before is used again, what was left half done is begun anew."""
    done = folder / "installed.json"
    if done.is_file():
        found = json.loads(done.read_text())
        return Tool(tuple(found["command"]), found["version"], found["note"], found["env"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        tool = make(folder)
    except InstallError as error:
        return Missing(str(error))
    done.write_text(json.dumps(asdict(tool)))
    return tool


def call(args: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command printed on stdout. Raises InstallError with the first line that says why."""
    try:
        done = subprocess.run(
            args,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
    except FileNotFoundError:
        raise InstallError(f"there is no {Path(args[0]).name} here") from None
    except subprocess.TimeoutExpired:
        raise InstallError(f"{Path(args[0]).name} did not end in {INSTALL_S:.0f} s") from None
    if done.returncode != 0:
        raise InstallError(f"{Path(args[0]).name}: {first_reason(done.stderr or done.stdout)}")
    return done.stdout


def first_reason(text: str) -> str:
    """The first line of an error, without addresses, which are nobody's business."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith(("error", "e:", "npm err", "npm error"))]
    line = ADDRESS.sub("…", (told or lines or ["no word of why"])[0])
    return line if len(line) <= MOST_REASON else line[:MOST_REASON].rsplit(" ", 1)[0] + " …"


def install_litellm(
    beside: Sequence[str], versions: Sequence[str] = LITELLM_VERSIONS
) -> Callable[[Path], Tool]:
    """The proxy in a venv, as pip installs it; `beside` are packages that it uses when they are there."""

    def make(folder: Path) -> Tool:
        call([sys.executable, "-m", "venv", str(folder)])
        refused: list[str] = []
        for version in versions:
            for way in (install_strictly, install_loosely):
                try:
                    note = way(folder, version)
                    if beside:
                        pip(folder, *beside)
                except InstallError as error:
                    refused.append(f"{version}: {error}")
                else:
                    note = "; ".join(filter(None, (f"with {' and '.join(beside)}" if beside else "", note)))
                    return Tool((str(folder / "bin/litellm"),), version, note)
        raise InstallError("; ".join(refused))

    return make


def pip(folder: Path, *args: str) -> str:
    return call([str(folder / "bin/pip"), "install", "-q", "--disable-pip-version-check", *args])


def install_strictly(folder: Path, version: str) -> str:
    pip(folder, f"litellm[proxy]=={version}")
    return ""


def install_loosely(folder: Path, version: str) -> str:
    """Everything it requires, but for bounds that the registry cannot meet and that do not matter here."""
    report = pip(
        folder, "--dry-run", "--no-deps", "--ignore-installed", "--report", "-", f"litellm=={version}"
    )
    wanted: list[str] = []
    loosened: list[str] = []
    for line in json.loads(report)["install"][0]["metadata"]["requires_dist"]:
        requirement = Requirement(line)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", "proxy")
        ):
            continue
        if requirement.name in LITELLM_LOOSE and requirement.specifier:
            loosened.append(f"{requirement.name}{requirement.specifier}")
            wanted.append(requirement.name)
        else:
            requirement.marker = None
            wanted.append(str(requirement))
    pip(folder, *wanted)
    pip(folder, "--no-deps", f"litellm=={version}")
    return f"its bounds {' and '.join(loosened)} loosened: the registry has none that fit"


def install_portkey(folder: Path) -> Tool:
    name, version = PORTKEY
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    call(["npm", "install", "--prefix", str(folder), *options, f"{name}@{version}"])
    node = shutil.which("node")
    if node is None:
        raise InstallError("there is no node here")
    package = folder / "node_modules" / name
    found = json.loads((package / "package.json").read_text())["version"]
    on = call([node, "--version"]).strip()
    return Tool((node, str(package / "build/start-server.js")), found, f"on node {on}")


def install_debian(program: str, packages: Sequence[str], where: str) -> Callable[[Path], Tool]:
    """A program of Debian's, taken from the system or unpacked beside it: nothing is installed, nobody need be root."""

    def make(folder: Path) -> Tool:
        env: dict[str, str] = {}
        path = shutil.which(program)
        if path is None:
            call(["apt-get", "download", *packages], cwd=folder)
            for package in sorted(folder.glob("*.deb")):
                call(["dpkg", "-x", str(package), str(folder)])
            path = str(folder / where)
            libraries = sorted({str(file.parent) for file in folder.rglob("*.so*")})
            env = {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}
        return Tool((path,), read_version(path, env), "", env)

    return make


def read_version(path: str, env: Mapping[str, str]) -> str:
    """nginx and wrk say it with -v, one on stderr and the other with an exit code of 1."""
    done = subprocess.run(
        [path, "-v"], env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False
    )
    found = re.search(r"(\d+\.\d+\.\d+(?:-[\w.+]+)?)", done.stdout + done.stderr)
    if not found:
        raise InstallError(f"{Path(path).name} does not start: {first_reason(done.stderr)}")
    return found[1]


NGINX = install_debian("nginx", ("nginx",), "usr/sbin/nginx")
WRK = install_debian("wrk", ("wrk", "libluajit-5.1-2", "libluajit-5.1-common"), "usr/bin/wrk")


def install_all(cache: Path, peers: Sequence[str], say: Callable[[str], None]) -> dict[str, Tool | Missing]:
    """The tools, nginx among them, and the peers that were asked for, by name."""
    makers: dict[str, tuple[str, Callable[[Path], Tool]]] = {
        "nginx": ("nginx", NGINX),
        "wrk": ("wrk", WRK),
        "portkey": (f"portkey-{PORTKEY[1]}", install_portkey),
        "litellm": (f"litellm-{LITELLM_VERSIONS[0]}", install_litellm(())),
        "litellm best": (f"litellm-best-{LITELLM_VERSIONS[0]}", install_litellm(LITELLM_BESIDE)),
    }
    found: dict[str, Tool | Missing] = {}
    for name, (folder, make) in makers.items():
        if name in ("nginx", "wrk") or name in peers:
            say(f"{name}: looking in {cache / folder}")
            found[name] = what = install(make, cache / folder)
            say(f"{name}: {what.version if isinstance(what, Tool) else 'not to be had: ' + what.reason}")
    return found
