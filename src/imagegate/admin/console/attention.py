"""What needs somebody, and how the providers do: the parts of the overview that are no numbers."""

from typing import Any

from imagegate.admin import price_check, providers
from imagegate.admin.console.door import Visit
from imagegate.admin.providers import Place
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.rule_rows import under_rules
from imagegate.ledger.gauges import read_gauges
from imagegate.ledger.proof import last_proof

MANY_ERRORS = 0.1
LONG_HOLD_S = 1800
STATES = {"closed": "good", "half_open": "warn", "open": "bad"}

Trouble = tuple[str, str, str]
"""How bad (`bad` or `warn`), what, and the page where it is seen to."""


def place_of(visit: Visit) -> Place:
    services = visit.services
    return Place(
        services.catalogue,
        services.settings,
        services.keyring,
        services.credentials,
        services.health.snapshot(),
    )


def strips(visit: Visit) -> list[dict[str, Any]]:
    """A mark for each offering that was asked lately, by provider, as this process has seen them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for seen in visit.services.health.snapshot():
        mark = {**providers.health_json(seen), "tone": STATES[seen.state]}
        found.setdefault(seen.provider, []).append(mark)
    return [{"provider": name, "marks": marks} for name, marks in found.items()]


async def find_troubles(visit: Visit, totals: dict[str, int]) -> list[Trouble]:
    return [
        *await of_the_ledger(visit),
        *await of_providers(visit),
        *await of_prices(visit),
        *of_requests(totals),
    ]


def of_requests(totals: dict[str, int]) -> list[Trouble]:
    made, failed = totals["generations"], totals["errors"]
    if made < 10 or failed / made < MANY_ERRORS:
        return []
    text = f"{failed:,} of {made:,} requests failed."
    return [("warn", text, "/console/requests?status=failed")]


async def of_the_ledger(visit: Visit) -> list[Trouble]:
    gauges, proof = await read_gauges(visit.connection), await last_proof(visit.connection)
    found: list[Trouble] = []
    if gauges.imbalances:
        text = f"{gauges.imbalances} wallets hold other tokens than their open requests. Run: imagegate ledger verify"
        found.append(("bad", text, "/console/accounts"))
    if proof is not None and proof.violations:
        text = (
            f"The last proof of the ledger found {proof.violations} violations. Run: imagegate ledger verify"
        )
        found.append(("bad", text, "/console/accounts"))
    if gauges.oldest_open_hold_s > LONG_HOLD_S:
        minutes = round(gauges.oldest_open_hold_s / 60)
        found.append(
            (
                "warn",
                f"A request has been open for {minutes} minutes.",
                "/console/requests?status=in_progress",
            )
        )
    return found


async def of_providers(visit: Visit) -> list[Trouble]:
    found: list[Trouble] = []
    for provider in await providers.list_providers(visit.connection, place_of(visit)):
        name, to = provider["name"], f"/console/providers/{provider['name']}"
        if provider["configured"] and not provider["enabled"]:
            found.append(("warn", f"{name} is disabled.", to))
        if resting := [seen for seen in provider["health"] if seen["state"] == "open"]:
            found.append(("bad", f"{name}: {len(resting)} offerings rest after failures.", to))
        found += [
            ("bad", f"{name}: the key …{key['hint']} is {key['state']}.", to)
            for key in provider["keys"]
            if key["state"] in ("refused", "unusable")
        ]
    return found


async def of_prices(visit: Visit) -> list[Trouble]:
    services = visit.services
    catalogue = await under_rules(visit.connection, services.catalogue)
    current = await price_rows.load(visit.connection)
    faults = price_check.check(catalogue, services.settings, services.credentials, current)
    kinds = {
        "unpriced": "without a price",
        "zero": "at no price",
        "below_cost": "below cost",
        "usage": "by usage",
    }
    found: list[Trouble] = []
    for kind, said in kinds.items():
        if models := {fault.model for fault in faults if fault.kind == kind}:
            text = f"Sold {said}: {', '.join(sorted(models)[:3])}"
            more = f" and {len(models) - 3} more." if len(models) > 3 else "."
            found.append(("warn", text + more, f"/console/prices?find={kind}"))
    return found
