"""Two customers, and every route there is: what belongs to one is to the other as if it had never been."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.ids import new_id, public_id
from imagegate.services import Services
from tests.attackers.routes import METHODS, Operation, callers, schema, shape
from tests.conftest import LIVE_TOKENS, Account, open_account

PROMPT = "a hidden lighthouse 5b1e"
BODY: dict[str, Any] = {"prompt": PROMPT, "model": "sandbox", "size": "256x256"}
OURS = {"generation_id", "request_id"}
"""Names in paths that stand for what an account owns."""
SHARED = {"model_id"}
"""Names in paths that stand for what all have in common."""
CURSORS = {"after", "before", "starting_after", "ending_before", "key_id", "app", "model"}
PLAIN_QUERY = {
    "limit",
    "status",
    "created_after",
    "created_before",
    "summary",
    "since",
    "until",
    "by",
    "bucket",
    "schema",
    "dryRun",
}
PICTURE_FIELDS = ("image", "images", "image_url", "input_references", "mask")


@dataclass(frozen=True)
class Owned:
    """Ids of every kind that the victim has, by what they are, and what else must not come out."""

    account: Account
    ids: dict[str, str]
    secrets: tuple[str, ...]

    @property
    def client_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.account.key}"}


def unborn(id_: str) -> str:
    """Another id of the same kind, which nobody has ever had."""
    kind, _, rest = id_.partition("_")
    hex_, _, index = rest.partition("_")
    assert len(hex_) == 32, id_
    return public_id(kind, new_id()) + (f"_{index}" if index else "")


@pytest.fixture(scope="module")
async def owned(opened: Services, engine: AsyncEngine, base_url: str) -> AsyncIterator[Owned]:
    """A customer with a picture, a job that waits, a request that failed, and one of the test environment."""
    account = await open_account(opened, engine)
    headers = {"x-app-id": "hidden-shop-5b1e", "idempotency-key": "hidden-key-5b1e"}
    async with (
        AsyncClient(base_url=base_url, headers={"x-api-key": account.key}) as live,
        AsyncClient(base_url=base_url, headers={"x-api-key": account.test_key}) as test,
    ):
        made = (await live.post("/v1/images/generations", json=BODY, headers=headers)).json()
        waits = (await live.post("/v1/images/generations/async", json=BODY)).json()["id"]
        refused = await live.post("/v1/images/generations", json=BODY | {"model": "dall-e-33"})
        tested = (await test.post("/v1/images/generations", json=BODY)).json()
        listed = (await live.get("/v1/requests")).json()["data"]
        yield Owned(
            account,
            {
                "generation": made["metadata"]["id"],
                "image": made["data"][0]["image_id"],
                "job": waits,
                "test generation": tested["metadata"]["id"],
                "account": public_id("acc", account.id),
                "key": next(entry["key_id"] for entry in listed),
                "request": refused.headers["x-request-id"],
            },
            (PROMPT, "hidden-shop", "hidden-key", made["data"][0]["url"].partition("/media/")[2]),
        )
        stopped = await live.post(f"/v1/images/generations/{waits}/cancel")
        assert (stopped.status_code, stopped.json()["status"]) == (200, "cancelled")


@pytest.fixture
async def stranger(services: Services, engine: AsyncEngine, base_url: str) -> AsyncIterator[AsyncClient]:
    """Another customer."""
    other = await open_account(services, engine)
    async with AsyncClient(base_url=base_url, headers={"x-api-key": other.key}, timeout=30) as http:
        yield http


@pytest.fixture
async def other_env(owned: Owned, services: Services, base_url: str) -> AsyncIterator[AsyncClient]:
    """The victim itself, with the key of the test environment."""
    async with AsyncClient(base_url=base_url, headers={"x-api-key": owned.account.test_key}) as http:
        yield http


async def rows(owned: Owned) -> list[tuple[Any, ...]]:
    """What the victim has, as the database keeps it."""
    query = text(
        "SELECT id, env, state, charged_tokens, settled_at, request::text FROM generations"
        " WHERE account_id = :id ORDER BY id"
    )
    async with owned.account.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(query, {"id": owned.account.id})]


def with_ids() -> list[Operation]:
    return [operation for operation in callers() if OURS & set(operation.ids)]


def test_every_name_in_a_path_and_a_query_is_known_to_this_test() -> None:
    named = {name for operation in callers() for name in operation.ids}
    asked = {name for operation in callers() for name in operation.query}

    assert named == OURS | SHARED, "is what the new name stands for an account's own?"
    assert asked == CURSORS | PLAIN_QUERY, "can the new parameter name what belongs to another account?"
    assert {o.name for o in with_ids()} >= {
        "GET /v1/images/generations/{generation_id}",
        "POST /v1/images/generations/{generation_id}/cancel",
        "GET /v1/requests/{request_id}",
        "DELETE /v1/requests/{request_id}/payloads",
    }


async def alike(client: AsyncClient, method: str, path: str, foreign: str, **more: Any) -> Response:
    """The answer for a foreign id, which is exactly the one for an id that never was. path: with `{}` for the id."""
    never = unborn(foreign)
    there = await client.request(method, path.replace("{}", foreign), **more)
    nothing = await client.request(method, path.replace("{}", never), **more)
    assert shape(there, foreign) == shape(nothing, never), (method, path)
    return there


@pytest.mark.parametrize("operation", with_ids(), ids=lambda operation: operation.name)
async def test_a_foreign_id_is_an_id_that_never_was(
    owned: Owned, stranger: AsyncClient, operation: Operation
) -> None:
    before = await rows(owned)
    assert len(before) == 3
    path = operation.at(**dict.fromkeys(OURS, "{}"))
    told = {o.method for o in callers() if o.path == operation.path} | {"HEAD"}

    for kind, id_ in owned.ids.items():
        for method in METHODS:
            answer = await alike(stranger, method, path, id_)
            assert answer.status_code == (404 if method in told else 405), (kind, method)
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            assert id_ not in answer.text

    assert await rows(owned) == before


@pytest.mark.parametrize("operation", with_ids(), ids=lambda operation: operation.name)
async def test_a_key_of_one_environment_knows_nothing_of_the_other(
    owned: Owned, other_env: AsyncClient, base_url: str, operation: Operation
) -> None:
    before = await rows(owned)
    path = operation.at(**dict.fromkeys(OURS, "{}"))

    for kind in ("generation", "job"):
        assert (await alike(other_env, operation.method, path, owned.ids[kind])).status_code == 404
    async with AsyncClient(base_url=base_url, headers=owned.client_headers) as live:
        of_test = await alike(live, operation.method, path, owned.ids["test generation"])

    assert of_test.status_code == 404
    assert await rows(owned) == before


@pytest.mark.parametrize("prefix", ["/openai", "/api"])
async def test_another_prefix_is_no_way_around(owned: Owned, stranger: AsyncClient, prefix: str) -> None:
    for operation in with_ids():
        path = prefix + operation.at(**dict.fromkeys(OURS, "{}"))
        answer = await alike(stranger, operation.method, path, owned.ids["generation"])
        assert answer.status_code == 404


async def test_a_foreign_id_in_a_query_is_an_id_that_never_was(owned: Owned, stranger: AsyncClient) -> None:
    asked = [(o, name) for o in callers() for name in o.query if name in CURSORS]
    assert len(asked) >= 7

    for operation, name in asked:
        for id_ in owned.ids.values():
            answer = await alike(stranger, operation.method, f"{operation.path}?{name}={{}}", id_)
            assert answer.status_code < 500
            assert not any(secret in answer.text for secret in owned.secrets)


async def test_no_list_and_no_sum_holds_anything_of_another_account(
    owned: Owned, stranger: AsyncClient
) -> None:
    plain = [o for o in callers() if o.method == "GET" and not o.ids]
    assert len(plain) >= 8

    for operation in plain:
        answer = await stranger.get(operation.path)
        assert answer.status_code == 200, operation.path
        for hidden in (*owned.ids.values(), *owned.secrets):
            assert hidden not in answer.text, operation.path


def takers() -> list[tuple[str, list[str]]]:
    """Routes that take pictures as JSON, and by which fields."""
    found = []
    for operation in callers():
        if "application/json" in operation.kinds:
            content = schema()["paths"][operation.path]["post"]["requestBody"]["content"]["application/json"]
            fields = [name for name in PICTURE_FIELDS if name in content["schema"]["properties"]]
            found += [(operation.path, fields)] if fields else []
    return found


async def test_a_foreign_picture_is_a_picture_that_never_was(
    owned: Owned, stranger: AsyncClient, other_env: AsyncClient
) -> None:
    assert len(takers()) >= 10
    foreign, never = owned.ids["image"], unborn(owned.ids["image"])

    for path, fields in takers():
        for field in fields:
            for client in (stranger, other_env):
                answers = []
                for id_ in (foreign, never):
                    named = (
                        [{"image_id": id_}] if field in ("images", "input_references") else {"image_id": id_}
                    )
                    body = BODY | {"model": "sandbox:sandbox"} | {field: named}
                    if field == "mask":
                        body |= {"image": {"image_id": id_}}
                    answers.append(await client.post(path, json=body))
                assert shape(answers[0], foreign) == shape(answers[1], never), (path, field)
                assert answers[0].status_code in (400, 404), (path, field, answers[0].text)


async def test_an_idempotency_key_is_its_account_s_own(
    owned: Owned, stranger: AsyncClient, account: Account
) -> None:
    headers = {"idempotency-key": "hidden-key-5b1e"}

    answer = await stranger.post("/v1/images/generations", json=BODY, headers=headers)
    other_body = await stranger.post("/v1/images/generations", json=BODY | {"prompt": "x"}, headers=headers)

    assert (answer.status_code, other_body.status_code) == (200, 422)
    assert answer.json()["metadata"]["id"] != owned.ids["generation"]


async def test_the_victim_has_lost_nothing(owned: Owned, services: Services, base_url: str) -> None:
    live, held = await owned.account.balance()
    async with AsyncClient(base_url=base_url, headers=owned.client_headers) as own:
        for path in ("/v1/images/generations", "/v1/requests"):
            for kind in ("generation", "job"):
                assert (await own.get(f"{path}/{owned.ids[kind]}")).status_code == 200

    found = [row for row in await rows(owned) if row[2] == "captured"]
    assert held > 0, "the job still waits"
    assert live == LIVE_TOKENS - sum(row[3] for row in found if row[1] == "live")
    assert all(PROMPT in row[5] for row in found), "a prompt was purged"
