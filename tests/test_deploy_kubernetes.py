"""The manifests in deploy/kubernetes: they refer to each other, to settings and to routes that exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from httpx import AsyncClient

from imagegate.cli import command
from imagegate.settings import PREFIX, PROVIDER_VARIABLE, Settings, load_settings
from tests.test_deploy_files import instructions, known_variables

FOLDER = Path(__file__).parent.parent / "deploy" / "kubernetes"
FILES = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.yaml"))}
DOCUMENTS: list[dict[str, Any]] = [one for text in FILES.values() for one in yaml.safe_load_all(text)]
KINDS = {
    "ConfigMap": "v1",
    "CronJob": "batch/v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "PodDisruptionBudget": "policy/v1",
    "Secret": "v1",
    "Service": "v1",
}
PODS = ("Deployment", "Job", "CronJob")
USER, GROUP = map(int, instructions("USER")[-1].split(":"))


def of(kind: str, name: str | None = None) -> dict[str, Any]:
    found = [d for d in DOCUMENTS if d["kind"] == kind and name in (None, d["metadata"]["name"])]
    assert len(found) == 1, (kind, name)
    return found[0]


def pods() -> Iterator[dict[str, Any]]:
    for kind in PODS:
        yield pod_of(kind)


def pod_of(kind: str) -> dict[str, Any]:
    spec = of(kind)["spec"]
    return dict((spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"])


def container(kind: str) -> dict[str, Any]:
    (only,) = pod_of(kind)["spec"]["containers"]
    return dict(only)


def keys_of(kind: str, name: str) -> set[str]:
    held = of(kind, name)
    return set(held.get("data", {})) | set(held.get("stringData", {}))


def test_every_document_is_of_a_known_kind_and_named() -> None:
    assert {d["kind"] for d in DOCUMENTS} == KINDS.keys()
    for document in DOCUMENTS:
        assert document["apiVersion"] == KINDS[document["kind"]]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", document["metadata"]["name"])


@pytest.mark.parametrize("name", FILES)
def test_every_variable_that_a_manifest_names_is_a_setting(name: str) -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z0-9_]+", FILES[name]))

    assert named - known_variables() == set()


def test_what_is_set_is_a_valid_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in of("ConfigMap")["data"].items():
        monkeypatch.setenv(name, value)

    settings = load_settings(None)

    assert (settings.host, settings.port) == ("0.0.0.0", container("Deployment")["ports"][0]["containerPort"])
    assert settings.store_url is not None


def test_secrets_are_referred_to_by_name_and_never_written_into_a_manifest() -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    hidden = {PREFIX + name.upper() for name in secret}
    plain = keys_of("ConfigMap", "imagegate") | {e["name"] for p in pods() for e in env_of(p) if "value" in e}

    assert plain & hidden == set()
    assert [name for name in plain if PROVIDER_VARIABLE.fullmatch(name) and name.endswith("_API_KEY")] == []
    for pod in pods():
        for entry in env_of(pod):
            reference = entry["valueFrom"]["secretKeyRef"]
            assert entry["name"] == reference["key"]
            assert reference["key"] in keys_of("Secret", reference["name"])
    for source in container("Deployment")["envFrom"] + container("CronJob")["envFrom"]:
        (kind, reference) = next(iter(source.items()))
        of({"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], reference["name"])


def env_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for one in pod["spec"]["containers"] for entry in one.get("env", [])]


def test_only_the_migration_sees_the_owner_s_connection() -> None:
    assert "DIRECT_URL" in FILES["migrate.yaml"]
    assert "DIRECT_URL" not in FILES["deployment.yaml"] + FILES["config.yaml"]
    assert "IMAGEGATE_DATABASE_DIRECT_URL" not in keys_of("Secret", "imagegate")


def test_the_containers_run_verbs_that_exist() -> None:
    verbs: Any = command()
    db = verbs.commands["db"].commands

    assert container("Deployment")["args"] == ["serve"]
    assert "serve" in verbs.commands
    assert container("Job")["args"] == ["db", "upgrade"]
    assert "upgrade" in db
    assert container("CronJob")["args"] == ["ledger", "verify"]
    assert "verify" in verbs.commands["ledger"].commands
    assert of("Job")["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert instructions("ENTRYPOINT") == ['["imagegate"]']


async def test_the_probes_ask_routes_that_answer(client: AsyncClient) -> None:
    gateway = container("Deployment")
    paths = {probe: gateway[probe]["httpGet"]["path"] for probe in gateway if probe.endswith("Probe")}

    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for path in paths.values():
        assert (await client.get(path)).status_code == 200
    ports = {gateway[probe]["httpGet"]["port"] for probe in paths}
    assert ports == {port["name"] for port in gateway["ports"]}
    assert of("Service")["spec"]["ports"][0]["targetPort"] in ports


def test_a_stopping_pod_is_given_the_time_it_drains() -> None:
    grace_s = of("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    assert grace_s > Settings.model_fields["drain_s"].default + 15


def test_nothing_is_down_while_versions_change_or_nodes_are_drained() -> None:
    deployment, budget = of("Deployment")["spec"], of("PodDisruptionBudget")["spec"]

    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert deployment["replicas"] > budget["minAvailable"] >= 1


def test_everything_selects_the_gateway_s_pods_and_no_job_s() -> None:
    gateway = of("Deployment")["spec"]["template"]["metadata"]["labels"]
    others = [pod_of(kind)["metadata"]["labels"] for kind in ("Job", "CronJob")]
    selectors = [
        of("Deployment")["spec"]["selector"]["matchLabels"],
        of("Service")["spec"]["selector"],
        of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]

    for selector in selectors:
        assert selector.items() <= gateway.items()
        assert not any(selector.items() <= other.items() for other in others)


def test_pods_run_as_the_image_s_user_without_rights_or_a_writable_root() -> None:
    for pod in pods():
        spec = pod["spec"]
        (only,) = spec["containers"]
        assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (USER, GROUP)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounted = {mount["name"] for mount in only["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        assert re.search(r":\d", only["image"])
    assert instructions("VOLUME")[0] in {m["mountPath"] for m in container("Deployment")["volumeMounts"]}


def test_kubernetes_own_variables_of_a_service_do_not_reach_the_settings() -> None:
    """A Service `imagegate` would set IMAGEGATE_PORT to tcp://… in every pod of its namespace."""
    assert of("Service")["metadata"]["name"] == "imagegate"
    assert [pod["spec"]["enableServiceLinks"] for pod in pods()] == [False] * len(PODS)


def test_the_folder_s_readme_names_every_file() -> None:
    told = (FOLDER / "README.md").read_text()

    assert [name for name in FILES if f"`{name}`" not in told] == []
