"""The dashboard and the alerts in deploy/: they ask for metrics and labels that /metrics really has."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from imagegate.cli import command
from imagegate.domain import Attempt
from imagegate.telemetry import OfferingReading, Reading, Telemetry
from imagegate.telemetry.counts import Counts

DEPLOY = Path(__file__).parent.parent / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "imagegate.json").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus itself puts on everything."""


def everything_told() -> Reading:
    """A reading in which nothing is unknown."""
    offering = OfferingReading("openai", "gpt-image-2", 0.0, 1.0, 1, 1, 1)
    counts = Counts()
    spent = Decimal("0.01")
    counts.attempted(
        Attempt(0, "openai", "gpt-image-2", "DELIVERED", 1, datetime.now(UTC), 1_000, cost_usd=spent)
    )
    parts = {
        "offerings": [offering],
        "moderated": {("input", "passed"): 1},
        "counts": counts,
        "shed": {"late": 1},
    }
    return Reading(**{name: parts.get(name, 1) for name in Reading.__dataclass_fields__})  # type: ignore[arg-type]


def metrics() -> dict[str, set[str]]:
    """Every sample that a gateway can tell, with its labels."""
    telemetry = Telemetry()
    telemetry.count_request("POST", "/v1/images/generations", 200)
    told: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(telemetry.render(everything_told()).decode()):
        for sample in family.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    return told


TOLD = metrics()


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def asked(expression: str) -> set[str]:
    plain = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:imagegate|process)_[a-z0-9_]+|\bup\b", plain))


def test_every_metric_that_is_asked_for_is_told() -> None:
    wanted = {(name, metric) for name, expression in expressions() for metric in asked(expression)}

    assert len(wanted) > 25
    assert {pair for pair in wanted if pair[1] not in TOLD} == set()


def test_every_label_that_is_asked_for_is_on_its_metric() -> None:
    wrong = []
    for name, expression in expressions():
        for metric, matchers in re.findall(r"\b([a-z_0-9]+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            wrong += [(name, metric, label) for label in labels - TOLD[metric] - PROMETHEUS]
        grouped = {label for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(", ")}
        known = {label for metric in asked(expression) for label in TOLD[metric]}
        wrong += [(name, "by", label) for label in grouped - known - PROMETHEUS]

    assert wrong == []


def test_what_can_break_has_an_alert() -> None:
    watched = {metric for rule in RULES for metric in asked(rule["expr"])}

    assert {
        "imagegate_ledger_imbalances",
        "imagegate_ledger_violations",
        "imagegate_database_up",
        "imagegate_oldest_open_hold_seconds",
        "imagegate_oldest_job_seconds",
        "imagegate_offering_open",
    } <= watched


def test_alerts_say_what_is_wrong_and_name_verbs_that_exist() -> None:
    verbs: Any = command()
    names = [rule["alert"] for rule in RULES]

    assert len(names) == len(set(names))
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert min(len(rule["annotations"][part]) for part in ("summary", "description")) > 20
        for noun, verb in re.findall(
            r"\bimagegate ([a-z]+)(?: ([a-z]+))?", rule["annotations"]["description"]
        ):
            assert noun in verbs.commands, rule["alert"]
            below = getattr(verbs.commands[noun], "commands", {})
            assert not below or verb in below, (rule["alert"], verb)


def test_the_dashboard_s_panels_do_not_overlap_and_have_one_source() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_page_on_observing_names_every_alert_and_metric() -> None:
    page = (DEPLOY.parent / "docs" / "operate" / "observe.md").read_text()
    ours = {
        re.sub(r"_(total|bucket|sum|count|created)$", "", name)
        for name in TOLD
        if name.startswith("imagegate_")
    }

    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in page] == []
    assert [name for name in sorted(ours) if name not in page] == []
