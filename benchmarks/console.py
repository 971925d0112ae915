"""The console over a full database: how long each page takes, through the public door.

    python -m benchmarks.console                  # a few minutes, with a million generations
    python -m benchmarks.console --rows 100000
    python -m benchmarks.console --keep DIR       # fill DIR once, use it again

The gateway is a process of its own on an embedded PostgreSQL with fsync; somebody signs in by a link and asks for one
page after the other, in turns. Figures go to stdout as a table, with the pages that need longer than 300 ms marked.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from urllib.parse import urlencode

from sqlalchemy import text

from benchmarks.console_seed import fill, make_customers
from benchmarks.gateway import Gateway, books, parse_command, run_command, serving
from imagegate.db.base import open_engine
from imagegate.generation.usage import BUCKETS, DIMENSIONS
from imagegate.registry import Registry, open_database, open_registry
from imagegate.settings import Settings

ACCOUNTS, MODELS = 50, 40
TARGET_MS = 300
RANGES = ("24h", "90d")


def pages(account: str, models: Sequence[str]) -> dict[str, str]:
    """What is looked at, by name."""
    usage = {
        f"usage by {by}, {bucket}": f"/console/usage?{urlencode({'by': by, 'bucket': bucket, 'range': '90d'})}"
        for by in DIMENSIONS
        for bucket in BUCKETS
    }
    of_one = {
        f"usage of one account by {by}, {bucket}": "/console/usage?"
        + urlencode({"by": by, "bucket": bucket, "range": "90d", "account": account})
        for by, bucket in (("model", "day"), ("key", "none"), ("provider", "day"), ("model", "hour"))
    }
    filters = {
        "": {},
        "failed": {"status": "failed"},
        "in progress": {"status": "in_progress"},
        "of one account": {"account": account},
        "of a quiet account": {"account": "customer-49"},
        "of a model": {"model": models[3]},
        "of an app": {"app": "app-3"},
        "of a team": {"team": "team-3"},
        "of an unknown app": {"app": "nobody"},
        "by provider and class": {"provider": "openai", "class": "AMBIGUOUS"},
        "of a class": {"class": "REFUSED_UNBILLED"},
        "test": {"env": "test"},
        "id": {"id": "0000"},
        "id that is not there": {"id": "ffffffff"},
    }
    requests = {
        f"requests {name}, {span}": f"/console/requests?{urlencode({**query, 'range': span})}"
        for name, query in filters.items()
        for span in RANGES
    }
    words = {
        "": {},
        "a word": {"q": "cats"},
        "words nobody wrote": {"q": "zebra crossing"},
        "of one": {"account": account},
    }
    gallery = {
        f"gallery {name}, {span}": f"/console/gallery?{urlencode({**query, 'range': span})}"
        for name, query in words.items()
        for span in RANGES
    }
    overview = {
        f"overview, {span}": f"/console/overview?range={span}" for span in ("1h", "24h", "7d", "30d", "90d")
    }
    others = {
        "welcome": "/console/welcome",
        "keys": "/console/keys",
        "keys of one account": f"/console/keys?account={account}",
        "models & prices": "/console/prices",
        "one model": f"/console/models/{models[0]}",
        "providers": "/console/providers",
        "one provider": "/console/providers/openai",
        "accounts": "/console/accounts",
        "one account": f"/console/accounts/{account}",
    }
    return overview | usage | of_one | requests | gallery | others


class Browser:
    """One connection, with the cookie it was given."""

    def __init__(self, port: int) -> None:
        self._http = HTTPConnection("127.0.0.1", port, timeout=120)
        self._cookie = ""

    def sign_in(self, link: str) -> None:
        body = urlencode({"token": link.partition("token=")[2]})
        port = self._http.port
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://127.0.0.1:{port}"}
        self._http.request("POST", "/console/sign-in", body, headers)
        answer = self._http.getresponse()
        answer.read()
        self._cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
        assert answer.status == 303, answer.status

    def get(self, path: str) -> tuple[float, str]:
        """Milliseconds until the last byte, and the page."""
        began = perf_counter()
        self._http.request("GET", path, headers={"cookie": self._cookie})
        answer = self._http.getresponse()
        body = answer.read().decode()
        took = (perf_counter() - began) * 1000
        assert answer.status == 200, (path, answer.status, re.sub(r"<[^>]+>", " ", body)[-500:])
        return took, body


async def seed(gateway: Gateway, rows: int) -> list[str]:
    """Fill the database, if it is empty, and roll the hours up. Returns the models in it."""
    settings = settings_of(gateway)
    async with open_registry(settings) as registry, open_database(settings, print) as urls:
        sold = sold_models(registry)
        engine = open_engine(urls.owner, settings, statement_timeout_s=3600)
        async with engine.connect() as connection:
            there = (await connection.execute(text("SELECT 1 FROM generations LIMIT 1"))).scalar()
        if not there:
            async with engine.begin() as tx:
                await make_customers(tx, registry.keyring.key_pepper, ACCOUNTS)
                await fill(tx, ACCOUNTS, sold, rows)
            async with engine.connect() as connection:
                await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(
                    text("VACUUM ANALYZE")
                )
        await engine.dispose()
    return [model for model, _, _ in sold]


def sold_models(registry: Registry) -> list[tuple[str, str, str]]:
    found = []
    for model in registry.catalogue.models.values():
        sellers = list(dict.fromkeys(offering.provider for offering in model.offerings))
        if sellers:
            found.append((model.id, sellers[0], sellers[-1]))
    return found[:MODELS]


def settings_of(gateway: Gateway) -> Settings:
    return Settings(data_dir=gateway.data_dir)


def measure(browser: Browser, wanted: dict[str, str], turns: int) -> dict[str, list[float]]:
    for path in wanted.values():
        browser.get(path)
    found: dict[str, list[float]] = {name: [] for name in wanted}
    for _ in range(turns):
        for name, path in wanted.items():
            found[name].append(browser.get(path)[0])
    return found


def report(found: dict[str, list[float]]) -> str:
    lines = ["| page | p50 ms | max ms | |", "|---|---:|---:|---|"]
    for name, taken in found.items():
        middle, most = statistics.median(taken), max(taken)
        lines.append(f"| {name} | {middle:.0f} | {most:.0f} | {'slow' if middle > TARGET_MS else ''} |")
    return "\n".join(lines)


@contextmanager
def folder(keep: str | None) -> Iterator[Path]:
    if keep is not None:
        Path(keep).mkdir(parents=True, exist_ok=True)
        yield Path(keep)
        return
    with tempfile.TemporaryDirectory(prefix="igc", ignore_cleanup_errors=True) as made:
        os.chmod(made, 0o755)
        yield Path(made)


def main(rows: int, turns: int, keep: str | None, only: str | None) -> None:
    with folder(keep) as place:
        gateway = Gateway(parse_command(None), place, 9)
        with books(gateway):
            began = perf_counter()
            models = asyncio.run(seed(gateway, rows))
            print(f"filled in {perf_counter() - began:.0f} s")
            began = perf_counter()
            print(run_command(gateway, "db", "rollup").strip(), f"({perf_counter() - began:.0f} s)")
            with serving(gateway, cores=None) as server:
                link = json.loads(run_command(gateway, "console", "link", "--json"))["url"]
                browser = Browser(server.port)
                browser.sign_in(link)
                wanted = pages("customer-00", models)
                if only:
                    wanted = {name: path for name, path in wanted.items() if re.search(only, name)}
                print(report(measure(browser, wanted, turns)))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="generations of the last ninety days")
    parser.add_argument("--turns", type=int, default=5, help="how often each page is asked for")
    parser.add_argument("--keep", metavar="DIR", help="where the data lies and stays")
    parser.add_argument("--only", metavar="REGEX", help="pages whose name it matches")
    asked = parser.parse_args()
    main(asked.rows, asked.turns, asked.keep, asked.only)
