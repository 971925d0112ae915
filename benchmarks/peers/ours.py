"""imagegate as it is measured beside its peers: everything on, its PostgreSQL on the others' cores."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.gateway import Gateway, create_key, describe, parse_command, run_command, serving
from benchmarks.options import ENDING
from benchmarks.peers.rivals import Peer
from benchmarks.processes import capture
from benchmarks.scenarios import Target
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade

NAME = "imagegate"
DOES = "key, limits, budget, blocklist, price, hold, record, picture on disk, capture"
BLOCKED = 1000
MOST_RATE = 1_000_000
MOST_TOKENS = 2**53 - 1
VERIFY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Database:
    """The PostgreSQL of the run, a child of this process and so on its cores. `secret`: the master of all gateways."""

    server: EmbeddedPostgres
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)


@contextmanager
def opened(folder: Path, say: Callable[[str], None]) -> Iterator[Database]:
    """The embedded PostgreSQL as it is shipped, with fsync; it ends with the block."""
    with EmbeddedPostgres(folder / "postgres", say) as server:
        yield Database(server)


@dataclass(frozen=True, slots=True)
class House:
    """A database with one account, whose wallet all requests debit, and the folder of its pictures."""

    gateway: Gateway
    key: str
    owner_url: str


def furnish(database: Database, name: str, folder: Path, say: Callable[[str], None]) -> House:
    """Make the database, the account, its key, wallet, limits and budget, and a blocklist."""
    owner_url, app_url = database.server.create_database(name)
    upgrade(owner_url, say)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    blocklist = folder / "blocklist.txt"
    blocklist.write_text("".join(f"forbidden phrase {number}\n" for number in range(BLOCKED)))
    env = {
        "IMAGEGATE_DATABASE_URL": app_url,
        "IMAGEGATE_DATABASE_DIRECT_URL": owner_url,
        "IMAGEGATE_SECRET": database.secret,
        "IMAGEGATE_MODERATION_BLOCKLIST_FILE": str(blocklist),
    }
    gateway = Gateway(parse_command(None), folder, upstream_port=0, env=env)
    key = create_key(gateway)
    rates = ("--requests-per-min", "--images-per-min", "--concurrent")
    limits = [part for rate in rates for part in (rate, str(MOST_RATE))]
    limits += ["--day-tokens", str(MOST_TOKENS), "--month-tokens", str(MOST_TOKENS)]
    run_command(gateway, "limits", "set", "--account", "bench", "--env", "live", *limits, "--json")
    return House(gateway, key, owner_url)


def our_peer(house: House, name: str = NAME) -> Peer:
    """Every start is a fresh process over the same database and folder."""

    @contextmanager
    def start(base_url: str, _folder: Path, cores: frozenset[int] | None) -> Iterator[Target]:
        with serving(house.gateway.over(base_url), cores=cores) as served:
            authorization = f"authorization: Bearer {house.key}"
            url = f"http://127.0.0.1:{served.port}/v1{ENDING}"
            yield Target(name, url, (authorization,), pid=served.pid)

    return Peer(name, version("imagegate"), DOES, start)


def describe_ours() -> str:
    return describe(parse_command(None))


def prove(house: House) -> None:
    """Raises BenchmarkError when the ledger does not prove itself. Many rows take minutes."""
    capture(house.gateway.to_command("ledger", "verify", "--json"), timeout_s=VERIFY_S)
