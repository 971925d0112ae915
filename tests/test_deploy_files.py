"""The files that stand around the code: image, compose file, lock, CI. No container engine is needed."""

import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sqlalchemy.engine import make_url

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.db.pgbinaries import psql_command
from imagegate.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
README_TESTS = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/python -m pytest"
PASSWORD = "it's 1 of \\2"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
    return loaded


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions(name: str) -> list[str]:
    """What follows this word in the Dockerfile, continued lines joined."""
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.removeprefix(name).strip() for line in lines if line.startswith(f"{name} ")]


def known_variables() -> set[str]:
    parts = ("BASE_URL", "API_KEY", "TRUSTED_HOSTS")
    ours = {PREFIX + name.upper() for name in Settings.model_fields if name != "providers"}
    return ours | {f"{PREFIX}{name.upper()}_{part}" for name in load_catalogue().providers for part in parts}


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE_TEXT], ids=["Dockerfile", "docker-compose.yml"])
def test_every_variable_that_is_named_is_a_setting(text: str) -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z0-9_]+", text))

    assert named
    assert named - known_variables() == set()


def test_images_are_named_with_their_version(compose: dict[str, Any]) -> None:
    images = [image.split()[0] for image in instructions("FROM")]
    images += [service["image"] for service in compose["services"].values() if "image" in service]

    assert [image for image in images if not re.search(r":\d", image) or "latest" in image] == []


def test_the_image_runs_as_a_fixed_user_that_is_not_root() -> None:
    user, group = instructions("USER")[-1].split(":")

    assert (int(user), int(group)) > (1000, 1000)
    assert f"--owner={user} --group={group} --mode=0700 {instructions('VOLUME')[0]}" in DOCKERFILE
    assert f"IMAGEGATE_DATA_DIR={instructions('VOLUME')[0]}" in DOCKERFILE


def test_the_image_installs_only_what_is_pinned_by_hash() -> None:
    installs = re.findall(r"pip (?:install|wheel) [^&\n]*", DOCKERFILE.replace("\\\n", " "))

    assert len(installs) == 4
    assert [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line] == []


def test_the_image_checks_the_health_of_the_port_it_serves() -> None:
    check = instructions("HEALTHCHECK")[0]

    assert f"127.0.0.1:{Settings.model_fields['port'].default}/healthz" in check
    assert instructions("EXPOSE") == [str(Settings.model_fields["port"].default)]
    assert instructions("CMD") == ['["serve", "--host", "0.0.0.0"]']


def test_the_build_sees_what_it_copies_and_nothing_private() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name for line in instructions("COPY") if not line.startswith("--from") for name in line.split()[:-1]
    }

    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_gateway_waits_for_the_database_and_its_migrations(compose: dict[str, Any]) -> None:
    services = compose["services"]

    assert {name: wait["condition"] for name, wait in services["gateway"]["depends_on"].items()} == {
        "postgres": "service_healthy",
        "migrate": "service_completed_successfully",
    }
    assert (services["migrate"]["command"], services["migrate"]["restart"]) == (["db", "upgrade"], "no")
    assert "pg_isready" in services["postgres"]["healthcheck"]["test"]
    assert "--host=127.0.0.1" in services["postgres"]["healthcheck"]["test"]


def test_the_gateway_never_sees_the_owners_password(compose: dict[str, Any]) -> None:
    services = compose["services"]

    assert "imagegate_app:" in services["gateway"]["environment"]["IMAGEGATE_DATABASE_URL"]
    assert not re.search(r"DIRECT_URL|\{POSTGRES_PASSWORD", str(services["gateway"]))
    direct = services["migrate"]["environment"]["IMAGEGATE_DATABASE_DIRECT_URL"]
    owner = make_url(re.sub(r"\$\{.*?\}", "word", direct))
    assert owner.username == services["postgres"]["environment"]["POSTGRES_USER"]
    assert owner.database == services["postgres"]["environment"]["POSTGRES_DB"]


def test_no_secret_has_a_default() -> None:
    secrets = re.findall(r"\$\{(\w*(?:SECRET|PASSWORD))(.*?)\}", COMPOSE_TEXT)

    assert {name for name, _ in secrets} == {"IMAGEGATE_SECRET", "POSTGRES_PASSWORD", "POSTGRES_APP_PASSWORD"}
    assert [name for name, rest in secrets if not rest.startswith(":?")] == []


def test_volumes_lie_where_the_images_keep_their_data(compose: dict[str, Any]) -> None:
    services = compose["services"]

    assert "postgres:/var/lib/postgresql" in services["postgres"]["volumes"]
    assert services["postgres"]["image"].startswith("postgres:18")
    assert f"images:{instructions('VOLUME')[0]}" in services["gateway"]["volumes"]
    assert {"images", "postgres"} <= compose["volumes"].keys()


def test_a_stopping_gateway_is_given_the_time_it_drains(compose: dict[str, Any]) -> None:
    grace_s = int(compose["services"]["gateway"]["stop_grace_period"].removesuffix("s"))

    assert grace_s > Settings.model_fields["drain_s"].default + 15


def test_redis_starts_only_when_it_is_asked_for(compose: dict[str, Any]) -> None:
    assert compose["services"]["redis"]["profiles"] == ["limits"]
    assert "redis" not in str(compose["services"]["gateway"])


@pytest.fixture
def bare_server() -> Iterator[EmbeddedPostgres]:
    """As the postgres image is when it runs the init script: the owner, its database and no other role."""
    with tempfile.TemporaryDirectory(prefix="ig", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder), lambda line: None) as server:
            ask(server.owner_url, "DROP ROLE imagegate_app")
            yield server


def ask(url: str, sql: str) -> str:
    argv, secret = psql_command(url)
    return subprocess.check_output([*argv, "-XAtc", sql], env=os.environ | secret, text=True).strip()


def test_the_init_script_makes_the_role_that_the_migrations_grant_to(bare_server: EmbeddedPostgres) -> None:
    owner = make_url(bare_server.owner_url)
    argv, secret = psql_command(bare_server.owner_url)
    environment = {
        **secret,
        "PATH": f"{Path(argv[0]).parent}:{os.environ['PATH']}",
        "PGHOST": str(owner.query["host"]),
        "PGPORT": str(owner.query["port"]),
        "POSTGRES_USER": str(owner.username),
        "POSTGRES_DB": str(owner.database),
        "POSTGRES_APP_PASSWORD": PASSWORD,
    }

    script = ROOT / "deploy/postgres-init.sh"
    subprocess.run([script], env=environment, check=True, capture_output=True)
    upgrade(bare_server.owner_url, lambda line: None)

    app = owner.set(username="imagegate_app", password=PASSWORD).render_as_string(hide_password=False)
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE")
    columns = ", ".join(f"has_table_privilege('transfers', '{right}')" for right in rights)
    assert ask(app, f"SELECT {columns}") == "t|t|f|f"
    assert ask(app, "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user") == "f"


def test_the_lock_pins_every_dependency_by_hash_and_names_no_index(project: dict[str, Any]) -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^(\S+?)==(\S+)(.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)*)", text, re.MULTILINE)
    pins = {canonicalize_name(name): version for name, version, _ in entries}
    wanted = [Requirement(line) for line in project["project"]["dependencies"]]

    assert [name for name, _, hashes in entries if "--hash=" not in hashes] == []
    assert {canonicalize_name(one.name) for one in wanted} - pins.keys() == set()
    assert [str(one) for one in wanted if pins[canonicalize_name(one.name)] not in one.specifier] == []
    assert not re.search(r"://|--(extra-)?index|--find-links|^-", text, re.MULTILINE)


def test_the_build_lock_holds_what_the_build_needs(project: dict[str, Any]) -> None:
    requirements = (ROOT / "deploy/build.in").read_text().splitlines()
    pinned = (ROOT / "deploy/build.lock").read_text()

    assert [line for line in requirements if not line.startswith("#")] == project["build-system"]["requires"]
    assert "hatchling==" in pinned
    assert "://" not in pinned


def recipes() -> dict[str, list[str]]:
    """The Makefile's verbs and their lines, as they read with a .venv."""
    text = (ROOT / "Makefile").read_text()
    text = text.replace("$(PYTHON)", ".venv/bin/python").replace("$(VENV)", ".venv/bin/")
    found = re.findall(r"^([a-z]+):[^\n=]*\n((?:\t[^\n]*\n)*)", text, re.MULTILINE)
    return {name: [line.strip() for line in lines.splitlines()] for name, lines in found}


def test_ci_runs_the_readmes_tests_and_then_what_make_check_runs() -> None:
    script = (ROOT / ".ci/run").read_text().splitlines()
    verbs = recipes()
    checks = [line for verb in ("format", "lint", "types", "imports") for line in verbs[verb]]

    assert README_TESTS in (ROOT / "README.md").read_text()
    assert README_TESTS.endswith(verbs["test"][0])
    ran = [line for line in script if ".venv/" in line]
    assert ran == [f"{README_TESTS} || exit", *checks]
    assert script[0] == "#!/usr/bin/env bash"
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_hooks_run_verbs_of_the_makefile_that_exist() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]

    assert {hook["entry"] for hook in hooks} <= {f"make {verb}" for verb in recipes()}
    assert all(recipes()[hook["entry"].removeprefix("make ")] for hook in hooks)
