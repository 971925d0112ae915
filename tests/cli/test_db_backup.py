"""`imagegate db backup`, `restore` and `export`: there and back with the same wallets, and never a secret."""

import csv
import json
import re
import stat
import urllib.request
from pathlib import Path

import pytest

from imagegate.db.embedded import EmbeddedPostgres
from tests.cli.conftest import LONGEST_S, SECRET, Shell, beside

pytestmark = pytest.mark.long

SMALL = ("-m", "sandbox", "-s", "256x256", "--account", "kept")
TABLES = ("transfers", "generations", "attempts", "images", "wallets", "accounts")


@pytest.fixture(scope="module")
def house(shell: Shell, server: EmbeddedPostgres) -> Shell:
    """A database of its own, with an account that has drawn, failed, and been given back."""
    house = beside(shell, server, "backed_up")
    house.json("db", "upgrade")
    house.json("accounts", "create", "kept")
    house.json("wallets", "top-up", "--account", "kept", "--tokens", "7000", "--reason", "invoice 7")
    made = house.json("image", "a red fox", *SMALL, "-o", "kept.png")["id"]
    house.json("generations", "refund", made, "--tokens", "1000", "--reason", "a gift")
    house.run("image", "[[fail:503]]", *SMALL)
    ended(house)
    return house


def ended(house: Shell) -> None:
    """The leases of commands that have ended would keep a restore waiting."""
    assert house.run("db", "shell", "-c", "DELETE FROM workers").code == 0


def twin(house: Shell, server: EmbeddedPostgres, name: str) -> Shell:
    """Another database with the same secret and the same image store."""
    return beside(house, server, name).having(IMAGEGATE_DATA_DIR=house.environment["IMAGEGATE_DATA_DIR"])


def balances(house: Shell) -> list[object]:
    return [house.json("wallets", "show", "--account", "kept", "--env", env) for env in ("live", "test")]


def test_a_restored_backup_has_the_same_wallets_a_sound_ledger_and_serves_its_images(
    house: Shell, server: EmbeddedPostgres
) -> None:
    other = twin(house, server, "restored")
    key = house.json("keys", "create", "--account", "kept", "--env", "test")["key"]
    made = house.json("logs", "tail", "--status", "completed")["generations"][0]["id"]
    ended(house)

    saved = house.json("db", "backup", "house.dump")
    said = other.run("db", "restore", "house.dump", "--json")

    assert saved["rows"] == {"accounts": 1, "generations": 2, "transfers": 4}
    file = house.home / "house.dump"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_size == saved["bytes"]
    assert (said.code, said.json["ledger"]["ok"], said.json["ledger"]["checked"]["transfers"]) == (
        0,
        True,
        4,
    ), said
    assert "Reading transfers" in said.err
    assert balances(other) == balances(house)
    assert other.json("ledger", "verify")["ok"] is True
    role = "SELECT has_table_privilege('imagegate_app', 'transfers', 'UPDATE'), count(*) FROM transfers"
    assert other.run("db", "shell", "-c", role).out.splitlines()[2].split() == ["f", "|", "4"]
    with other.serving("serve", "--port", "0") as gateway:
        base = gateway.answer["base_url"]
        request = urllib.request.Request(
            f"{base}/images/generations/{made}", headers={"authorization": f"Bearer {key}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=LONGEST_S) as answer:
            link = json.load(answer)["data"][0]["url"]
        with opener.open(link, timeout=LONGEST_S) as picture:
            assert picture.read() == (house.home / "kept.png").read_bytes()


def test_what_is_there_is_lost_only_by_force_and_all_of_it_stays_when_a_restore_fails(
    house: Shell, server: EmbeddedPostgres
) -> None:
    other = twin(house, server, "filled")
    house.json("db", "backup", "full.dump")
    other.json("db", "upgrade")
    other.json("accounts", "create", "somebody")
    file = house.home / "full.dump"
    (house.home / "half.dump").write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    kept = other.run("db", "restore", "full.dump")
    broken = other.run("db", "restore", "half.dump", "--force")
    still = [account["name"] for account in other.json("accounts", "list")["accounts"]]
    forced = other.run("db", "restore", "full.dump", "--force")

    assert (kept.code, broken.code, still) == (1, 1, ["somebody"])
    assert "The database is not empty: 1 accounts" in kept.err
    assert "imagegate db restore full.dump --force" in kept.err
    assert "half.dump" in broken.err
    assert forced.code == 0, forced
    assert "The ledger holds" in forced.out
    assert [account["name"] for account in other.json("accounts", "list")["accounts"]] == ["kept"]


def test_a_backup_is_refused_under_another_secret_and_beside_a_running_gateway(
    house: Shell, server: EmbeddedPostgres
) -> None:
    house.json("db", "backup", "guarded.dump")
    other = twin(house, server, "guarded").having(IMAGEGATE_SECRET=SECRET[::-1])

    secret = other.refused("db", "restore", "guarded.dump")
    lease = "INSERT INTO workers (id, lease_until) VALUES (gen_random_uuid(), now() + interval '1 minute')"
    assert house.run("db", "shell", "-c", lease).code == 0
    running = house.refused("db", "restore", "guarded.dump", "--force")
    ended(house)

    assert "another secret" in secret["message"]
    assert "IMAGEGATE_SECRET" in secret["message"]
    assert "1 running gateways" in running["message"]
    assert house.json("ledger", "verify")["ok"] is True


def test_the_embedded_database_is_backed_up_too_and_says_where_its_secret_is(embedded: Shell) -> None:
    embedded.json("accounts", "create", "embedded")

    said = embedded.run("db", "backup", "embedded.dump")
    refused = embedded.refused("db", "restore", "embedded.dump")

    assert said.code == 0, said
    assert f"Keep the image store and {embedded.data_dir / 'secret'} too." in said.out
    assert "Back again: imagegate db restore embedded.dump" in said.out
    assert "Writing transfers" in said.err
    assert "--force" in refused["message"] or "running gateways" in refused["message"]


def test_what_is_no_backup_is_told(house: Shell, server: EmbeddedPostgres) -> None:
    (house.home / "words.dump").write_text("no backup")
    bare = beside(house, server, "bare_backup")

    missing = house.refused("db", "restore", "nowhere.dump")
    words = house.refused("db", "restore", "words.dump")
    nothing = bare.refused("db", "backup", "bare.dump")
    folder = house.refused("db", "backup", "nowhere/house.dump")
    house.json("db", "backup", "twice.dump")
    twice = house.run("db", "backup", "twice.dump")

    assert "nowhere.dump cannot be read" in missing["message"]
    assert "words.dump is no backup" in words["message"]
    assert "imagegate db upgrade" in nothing["message"]
    assert "cannot be written" in folder["message"]
    assert (twice.code, twice.out) == (2, "")
    assert "--force" in twice.err
    assert house.json("db", "backup", "twice.dump", "--force")["bytes"] > 0
    assert not list(house.home.glob("*.part"))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_every_table_is_exported_without_a_secret(house: Shell, form: str) -> None:
    key = house.json("keys", "create", "--account", "kept", "--env", "live")["key"]

    done = house.json("db", "export", "all", f"out-{form}", "--format", form)

    assert {file["table"] for file in done["files"]} == set(TABLES)
    texts = {name: (house.home / f"out-{form}" / f"{name}.{form}").read_text() for name in TABLES}
    hashes = house.run("db", "shell", "-c", "SELECT encode(hash, 'hex') FROM api_keys").out
    for secret in (key, key[-30:], *re.findall(r"[0-9a-f]{64}", hashes)):
        assert not any(secret in text for text in texts.values())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (house.home / f"out-{form}").iterdir()}
    assert modes == {0o600}
    rows = {name: rows_of(house.home / f"out-{form}" / f"{name}.{form}") for name in TABLES}
    assert {file["table"]: file["rows"] for file in done["files"]} == {n: len(r) for n, r in rows.items()}
    moved = [(row["kind"], int(str(row["tokens"]))) for row in rows["transfers"]]
    assert sorted(moved) == [("capture", 5000), ("grant", 100_000_000), ("refund", 1000), ("top_up", 7000)]
    wallet = {row["env"]: int(str(row["posted_tokens"])) for row in rows["wallets"]}
    assert wallet == {"live": 7000, "test": 99_996_000}
    (image,) = rows["images"]
    assert re.fullmatch(r"[0-9a-f]{64}", str(image["sha256"]))
    assert str(image["generation_id"]).startswith("gen_")
    assert str(rows["transfers"][0]["at"]).endswith("Z")


def rows_of(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open() as file:
        return list(csv.DictReader(file))


def test_one_table_is_exported_and_wrong_use_refused(house: Shell) -> None:
    said = house.run("db", "export", "wallets", "one")
    twice = house.run("db", "export", "wallets", "one")
    unknown = house.run("db", "export", "api_keys", "one")

    assert said.code == 0
    assert said.out.startswith("one/wallets.csv  2 rows")
    assert [path.name for path in (house.home / "one").iterdir()] == ["wallets.csv"]
    assert (twice.code, unknown.code) == (2, 2)
    assert "--force" in twice.err
    assert house.run("db", "export", "wallets", "one", "--force").code == 0
