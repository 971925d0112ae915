"""What callers group and find their requests by: sessions, traces, end users, metadata; none changes the request."""

from typing import Any

import pytest
from httpx import AsyncClient

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.catalogue.provider_names import NAMES
from tests.conftest import LIVE_TOKENS, Account

GENERATIONS = "/openai/v1/images/generations"
BODY = {"prompt": "a wren", "model": "sandbox", "size": "256x256", "response_format": "url"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def logged(client: AsyncClient, answer: dict[str, Any]) -> dict[str, Any]:
    response = await client.get(f"/v1/requests/{answer['metadata']['id']}")
    entry: dict[str, Any] = response.json()
    return entry


async def test_the_log_tells_session_trace_and_size_of_a_request(client: AsyncClient) -> None:
    headers = {"X-Session-ID": "a-session", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}

    response = await client.post(GENERATIONS, json=BODY | {"user": "u-1"}, headers=headers)

    entry = await logged(client, response.json())
    assert (entry["session_id"], entry["trace_id"], entry["user"]) == ("a-session", TRACE, "u-1")
    assert entry["request_size_bytes"] == len(response.request.content)


async def test_a_session_and_metadata_in_the_body_are_kept_and_told_again(client: AsyncClient) -> None:
    metadata = {"order": "7", "shop": "north"}

    response = await client.post(
        GENERATIONS, json=BODY | {"session_id": "mine", "metadata": metadata, "strict": True}
    )

    told = response.json()["metadata"]
    kept = {"treatment": "ignored", "detail": "kept with the generation only"}
    assert told["custom"] == metadata
    assert (told["parameters"]["session_id"], told["parameters"]["metadata"]) == (kept, kept)
    assert (await logged(client, response.json()))["session_id"] == "mine"


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
        {"traceparent": f"00-{TRACE}"},
        {"X-Session-ID": "x" * 257},
        {"X-Session-ID": "caf\u00e9"},
    ],
)
async def test_what_is_malformed_is_not_kept_and_refuses_nothing(
    client: AsyncClient, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]

    response = await client.post(GENERATIONS, json=BODY, headers=raw)

    entry = await logged(client, response.json())
    assert (response.status_code, entry["session_id"], entry["trace_id"]) == (200, None, None)


async def test_a_repetition_under_another_trace_is_the_same_request(
    client: AsyncClient, account: Account
) -> None:
    key = {"Idempotency-Key": "order-7", "X-Session-ID": "one"}
    first = await client.post(GENERATIONS, json=BODY, headers=key)
    other = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Session-ID": "two"}

    again = await client.post(GENERATIONS, json=BODY, headers=key | other)

    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["metadata"]["id"] == first.json()["metadata"]["id"]
    assert await account.balance() == (LIVE_TOKENS - 5_000, 0)


async def test_a_purge_removes_them(client: AsyncClient) -> None:
    headers = {"X-Session-ID": "a-session"}
    answer = (await client.post(GENERATIONS, json=BODY | {"metadata": {"a": "b"}}, headers=headers)).json()

    await client.delete(f"/v1/requests/{answer['metadata']['id']}/payloads")

    entry = await logged(client, answer)
    assert (entry["session_id"], entry["request_size_bytes"]) == (None, None)


async def test_the_answer_names_the_provider_as_it_calls_itself(client: AsyncClient) -> None:
    told = (await client.post(GENERATIONS, json=BODY)).json()["metadata"]

    assert (told["provider"], told["provider_name"]) == ("sandbox", "Sandbox")


def test_every_provider_of_the_catalogue_has_a_name() -> None:
    assert set(NAMES) == set(load_catalogue().providers)
