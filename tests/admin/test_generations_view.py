"""Operators look at generations, work out their price, give tokens back, purge, and read what was used."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import InvalidRequest
from imagegate.generation.usage import Wanted, read_usage
from imagegate.identity import keys
from imagegate.identity.keys import Labels
from imagegate.ids import parse_public_id
from imagegate.services import Services
from tests.admin.conftest import Issue
from tests.conftest import LIVE_TOKENS, Account

PATH = "/v1/images/generations"
SMALL = {"model": "sandbox", "size": "256x256", "response_format": "url"}


async def draw(client: AsyncClient, prompt: str = "a hill", **more: Any) -> str:
    response = await client.post(PATH, json={**SMALL, "prompt": prompt, **more})
    made: str = response.headers.get("x-imagegate-generation-id", "")
    return made


async def found(admin: AsyncClient, account: Account, **query: Any) -> list[str]:
    response = await admin.get("/generations", params={"account": account.name, **query})
    assert response.status_code == 200, response.text
    return [generation["id"] for generation in response.json()["data"]]


async def test_a_price_is_worked_out_line_by_line(
    client: AsyncClient, account: Account, admin: AsyncClient
) -> None:
    named = await draw(client, n=3)

    shown = (await admin.get(f"/generations/{named}")).json()

    bill = shown["bill"]
    assert (shown["account"], shown["env"], shown["status"]) == (account.name, "live", "completed")
    assert (bill["unit"], bill["size"], bill["quality"], bill["n"]) == ("megapixel", "256x256", None, 3)
    assert bill["lines"] == [
        {"says": "one image of 256x256, priced by the megapixel", "tokens": "5000"},
        {"says": "asked for: 3 × 5000", "tokens": "15000"},
        {"says": "held", "tokens": "15000"},
        {"says": "delivered: 3 × 5000", "tokens": "15000"},
        {"says": "charged", "tokens": "15000"},
    ]
    assert (bill["price"]["model"], bill["price"]["version"]) == ("imagegate/sandbox", 1)
    assert bill["price"]["valid_from"] <= shown["created_at"]
    (capture,) = shown["transfers"]
    assert (capture["kind"], capture["tokens"], capture["debit"]) == ("capture", 15_000, "wallet")
    assert capture["balance_after"] == LIVE_TOKENS - 15_000
    assert {attempt["class"] for attempt in shown["attempts"]} == {"DELIVERED"}
    assert sum(attempt["images"] for attempt in shown["attempts"]) == len(shown["stored"]) == 3
    assert shown["request"]["prompt"] == "a hill"


async def test_fractions_of_tokens_are_exact_and_rounded_up_once(
    client: AsyncClient, admin: AsyncClient, engine: AsyncEngine
) -> None:
    named = await draw(client, n=2)
    async with engine.begin() as tx:
        query = (
            "UPDATE generations SET quote = jsonb_set(quote, '{image_tokens}', '\"14999/3\"') WHERE id = :id"
        )
        await tx.execute(text(query), {"id": parse_public_id("gen", named)})

    lines = (await admin.get(f"/generations/{named}")).json()["bill"]["lines"]

    assert [(line["says"], line["tokens"]) for line in lines[1:3]] == [
        ("asked for: 2 × 14999/3", "29998/3"),
        ("held, rounded up once", "10000"),
    ]


async def test_a_failed_one_says_why_and_what_is_at_risk(
    client: AsyncClient, account: Account, admin: AsyncClient
) -> None:
    await draw(client, "[[ambiguous]]")

    (named,) = await found(admin, account, status="failed")
    shown = (await admin.get(f"/generations/{named}")).json()

    assert (shown["error"]["code"], shown["charged_tokens"], shown["transfers"]) == (
        "upstream_timeout",
        0,
        [],
    )
    assert shown["bill"]["lines"][-1] == {"says": "charged: nothing, the hold was given back", "tokens": "0"}
    assert shown["attempts"][0]["class"] == "AMBIGUOUS"


async def test_they_are_found_by_what_is_known_of_them(
    client: AsyncClient, test_client: AsyncClient, account: Account, services: Services, admin: AsyncClient
) -> None:
    async with services.engine.begin() as tx:
        labels = Labels("art", "shop", None)
        key_id, plain = await keys.create_key(
            tx, services.keyring.key_pepper, account.id, "live", labels, None
        )
    first = await draw(client, model="dall-e-2")
    labelled = {"authorization": f"Bearer {plain}"}
    second = (await client.post(PATH, json={**SMALL, "prompt": "b"}, headers=labelled)).json()["metadata"][
        "id"
    ]
    third = await draw(test_client)
    await draw(client, "[[ambiguous]]")
    made = [*(await found(admin, account, status="completed"))]

    assert made == [third, second, first]
    assert len(await found(admin, account)) == 4
    assert await found(admin, account, env="test") == [third]
    assert await found(admin, account, model="dall-e-2") == [first]
    assert await found(admin, account, team="art") == await found(admin, account, app="shop") == [second]
    assert await found(admin, account, key=f"key_{key_id.hex}") == [second]
    assert await found(admin, account, provider="sandbox", env="test") == [third]
    assert len(await found(admin, account, **{"class": "AMBIGUOUS"})) == 1
    assert await found(admin, account, provider="openai", **{"class": "AMBIGUOUS"}) == []
    for said in (first, first[4:], first[-12:], first[10:30].upper(), f" {first} "):
        assert await found(admin, account, id=said) == [first]
    now = datetime.now(UTC)
    assert await found(admin, account, until=(now - timedelta(hours=1)).isoformat()) == []
    assert len(await found(admin, account, since=(now - timedelta(hours=1)).isoformat())) == 4


async def test_pages_meet_each_once_however_old(
    client: AsyncClient, account: Account, admin: AsyncClient, engine: AsyncEngine
) -> None:
    made = [await draw(client) for _ in range(5)]
    async with engine.begin() as tx:  # further apart than the steps in which the search looks back
        for days, named in zip((400, 40, 2, 0, 0), made, strict=True):
            query = text(
                "UPDATE generations SET created_at = now() - :days * interval '1 day' WHERE id = :id"
            )
            await tx.execute(query, {"days": days, "id": parse_public_id("gen", named)})
    query = {"account": account.name, "limit": 2}

    met: list[str] = []
    page = (await admin.get("/generations", params=query)).json()
    while True:
        met += [generation["id"] for generation in page["data"]]
        if not page["has_more"]:
            break
        page = (await admin.get("/generations", params={**query, "after": page["next"]})).json()

    assert sorted(met) == sorted(made)
    assert met[2:] == made[2::-1]


async def test_a_refund_goes_back_once_and_is_audited(
    client: AsyncClient, account: Account, admin: AsyncClient
) -> None:
    named = await draw(client)
    body = {"cause": "ticket 7", "tokens": 2_000, "reason": "a blurred picture"}

    first = (await admin.post(f"/generations/{named}/refund", json=body)).json()
    again = (await admin.post(f"/generations/{named}/refund", json=body)).json()
    rest = (
        await admin.post(f"/generations/{named}/refund", json={"cause": "rest", "reason": "all of it"})
    ).json()
    more = await admin.post(f"/generations/{named}/refund", json={"cause": "more", "reason": "yet more"})

    assert [(r["tokens"], r["new"]) for r in (first, again, rest)] == [
        (2_000, True),
        (2_000, False),
        (3_000, True),
    ]
    assert (more.status_code, more.json()["code"]) == (409, "already_refunded")
    assert await account.balance() == (LIVE_TOKENS, 0)
    shown = (await admin.get(f"/generations/{named}")).json()
    assert (shown["bill"]["refunded_tokens"], shown["charged_tokens"]) == (5_000, 5_000)
    assert shown["bill"]["lines"][-1] == {"says": "paid in the end", "tokens": "0"}
    assert [transfer["kind"] for transfer in shown["transfers"]] == ["capture", "refund", "refund"]
    entries = (await admin.get("/audit", params={"action": "generations.refund"})).json()["data"]
    assert [e["detail"]["tokens"] for e in entries if e["target"] == named] == [3_000, 2_000]


async def test_a_purge_is_audited_and_can_be_repeated(
    client: AsyncClient, account: Account, admin: AsyncClient, services: Services
) -> None:
    named = await draw(client, "a secret hill", n=2)

    first = (await admin.post(f"/generations/{named}/purge", json={"reason": "asked to forget"})).json()
    again = (await admin.post(f"/generations/{named}/purge", json={"reason": "asked again"})).json()

    assert (first["id"], first["images"], first["objects"], again["objects"]) == (named, 2, 2, 0)
    assert again["purged_at"] == first["purged_at"]
    assert (await client.get(f"{PATH}/{named}")).status_code == 410
    response = await admin.get(f"/generations/{named}")
    assert "secret" not in response.text
    assert (response.json()["purged_at"], response.json()["charged_tokens"]) == (first["purged_at"], 10_000)
    entries = (await admin.get("/audit", params={"action": "generations.purge"})).json()["data"]
    assert [e["reason"] for e in entries if e["target"] == named] == ["asked again", "asked to forget"]


async def test_what_is_still_being_made_is_not_purged(
    client: AsyncClient, admin: AsyncClient, engine: AsyncEngine, services: Services
) -> None:
    named = await draw(client)
    async with engine.begin() as tx:
        query = text(
            "UPDATE generations SET state = 'running', settled_at = NULL, charged_tokens = 0 WHERE id = :id"
        )
        await tx.execute(query, {"id": parse_public_id("gen", named)})

    refused = await admin.post(f"/generations/{named}/purge", json={"reason": "too early"})

    async with engine.begin() as tx:
        query = text(
            "UPDATE generations SET state = 'captured', settled_at = now(), charged_tokens = 5000 WHERE id = :id"
        )
        await tx.execute(query, {"id": parse_public_id("gen", named)})
    assert (refused.status_code, refused.json()["code"]) == (409, "generation_in_progress")
    assert (await client.get(f"{PATH}/{named}")).status_code == 200


@pytest.mark.parametrize("method", ["show", "refund", "purge"])
@pytest.mark.parametrize("named", ["gen_" + "0" * 32, "nonsense"])
async def test_an_unknown_one_is_not_found(admin: AsyncClient, method: str, named: str) -> None:
    if method == "show":
        response = await admin.get(f"/generations/{named}")
    else:
        body = {"reason": "a test", **({"cause": "none"} if method == "refund" else {})}
        response = await admin.post(f"/generations/{named}/{method}", json=body)

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_reader_changes_nothing(client: AsyncClient, issue: Issue, account: Account) -> None:
    named, reader = await draw(client), await issue("read")

    refund = await reader.post(f"/generations/{named}/refund", json={"cause": "a", "reason": "b"})
    purge = await reader.post(f"/generations/{named}/purge", json={"reason": "b"})

    assert [refund.status_code, purge.status_code] == [403, 403]
    assert (await reader.get(f"/generations/{named}")).status_code == 200
    assert await account.balance() == (LIVE_TOKENS - 5_000, 0)


async def used(admin: AsyncClient, account: Account, **query: Any) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    span = {"since": (now - timedelta(days=1)).isoformat(), "until": (now + timedelta(minutes=1)).isoformat()}
    response = await admin.get("/usage", params={**span, "account": account.name, **query})
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()["rows"]
    return rows


def counts(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["generations"], row["images"], row["errors"], row["charged_tokens"]


async def test_usage_adds_up_by_every_dimension(
    client: AsyncClient, test_client: AsyncClient, account: Account, admin: AsyncClient
) -> None:
    await draw(client, n=3, user="ada")
    await draw(client, model="dall-e-2", size="512x512", user="kurt")
    await draw(client, "[[ambiguous]]", size="512x512")
    await draw(test_client)
    total = (3, 4, 1, 30_000)

    for by in ("account", "model", "key", "team", "app", "user", "size", "quality", "model,size,quality"):
        for bucket in ("none", "day", "hour"):
            rows = await used(admin, account, by=by, bucket=bucket)
            assert tuple(map(sum, zip(*map(counts, rows), strict=True))) == total, (by, bucket)
    by_model = {row["model"]: counts(row) for row in await used(admin, account)}
    assert by_model == {"imagegate/sandbox": (2, 3, 1, 15_000), "openai/dall-e-2": (1, 1, 0, 15_000)}
    by_user = {row["user"]: counts(row) for row in await used(admin, account, by="user")}
    assert by_user == {"ada": (1, 3, 0, 15_000), "kurt": (1, 1, 0, 15_000), None: (1, 0, 1, 0)}
    (test,) = await used(admin, account, by="account", env="test")
    assert (test["account"], counts(test)) == (account.name, (1, 1, 0, 5_000))
    (day,) = await used(admin, account, by="", bucket="day")
    assert day["at"] == f"{datetime.now(UTC):%Y-%m-%dT00:00:00Z}"


async def test_by_provider_each_attempt_counts_for_whom_it_asked(
    client: AsyncClient, account: Account, admin: AsyncClient, engine: AsyncEngine
) -> None:
    """A generation of four images: one provider refused, then delivered one; another delivered three."""
    named = await draw(client, n=4)
    tried = [
        (1, 1, "p1", "REFUSED_UNBILLED", 0, None, "0.5"),
        (1, 2, "p1", "DELIVERED", 1, "0.25", None),
        (2, 0, "p2", "DELIVERED", 3, "0.75", None),
    ]
    async with engine.begin() as tx:
        await tx.execute(
            text("DELETE FROM attempts WHERE generation_id = :id"), {"id": parse_public_id("gen", named)}
        )
        for epoch, seq, provider, outcome, images, cost, risk in tried:
            values = {
                "account": account.id, "id": parse_public_id("gen", named), "epoch": epoch, "seq": seq,
                "provider": provider, "class": outcome, "images": images, "cost": cost, "risk": risk,
            }  # fmt: skip
            query = """
                INSERT INTO attempts (account_id, env, generation_id, epoch, seq, provider, offering, class, images,
                    cost_usd, at_risk_usd, started_at, ms)
                VALUES (:account, 'live', :id, :epoch, :seq, :provider, 'm', :class, :images,
                    CAST(:cost AS numeric), CAST(:risk AS numeric), now(), 9)
            """
            await tx.execute(text(query), values)

    (p1, p2) = await used(admin, account, by="provider")
    (whole,) = await used(admin, account, by="account")

    assert (p1["provider"], counts(p1), p1["cost_usd"], p1["at_risk_usd"]) == (
        "p1",
        (1, 1, 1, 5_000),
        "0.25",
        "0.5",
    )
    assert (p2["provider"], counts(p2), p2["cost_usd"]) == ("p2", (1, 3, 0, 15_000), "0.75")
    assert (counts(whole), whole["cost_usd"], whole["at_risk_usd"]) == ((1, 4, 0, 20_000), "1.00", "0.5")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"by": "colour"}, "by"),
        ({"bucket": "week"}, "bucket"),
        ({"since": "2020-01-01T00:00:00Z", "bucket": "hour"}, "bucket"),
        ({"until": "2020-01-01T00:00:00Z"}, "since"),
        ({"until": "soon"}, "until"),
    ],
)
async def test_bad_questions_of_usage_are_refused(
    admin: AsyncClient, query: dict[str, str], param: str
) -> None:
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"}

    response = await admin.get("/usage", params={**span, **query})

    assert (response.status_code, response.json()["param"]) == (400, param)


async def test_too_many_rows_are_refused(client: AsyncClient, account: Account, services: Services) -> None:
    await draw(client)
    await draw(client, model="dall-e-2")
    now = datetime.now(UTC)
    wanted = Wanted(now - timedelta(hours=1), now + timedelta(hours=1), ("model",), account_id=account.id)

    async with services.engine.connect() as connection:
        assert len(await read_usage(connection, wanted, most_rows=2)) == 2
        with pytest.raises(InvalidRequest, match="more than 1 rows"):
            await read_usage(connection, wanted, most_rows=1)
