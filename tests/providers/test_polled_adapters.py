"""BFL, fal and Replicate: what is special about each of them."""

import json
import threading
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from imagegate.domain import ProviderCall, ProviderResult, UpstreamJob
from imagegate.errors import RefusedUnbilled
from imagegate.outbound import open_outbound
from imagegate.pool import WorkPool
from imagegate.providers import bfl, fal, pictures, replicate
from tests.providers.wire_cases import BASE_URL, call_from

STRANGER = UpstreamJob("job-1", "https://stranger.test/v1/jobs/job-1")
LINK = "https://cdn.test/a.png"
READY: dict[str, dict[str, Any]] = {
    "/v1/v1/get_result": {"id": "job-1", "status": "Ready", "result": {"sample": LINK}},
    "/v1/fal-ai/flux/requests/job-1/status": {"status": "COMPLETED", "response_url": STRANGER.url},
    "/v1/fal-ai/flux/requests/job-1": {"images": [{"url": LINK}]},
    "/v1/predictions/job-1": {"id": "job-1", "status": "succeeded", "output": [LINK]},
}


@pytest.fixture(scope="module")
def pool() -> Any:
    pool = WorkPool(threads=1)
    yield pool
    pool.close()


@pytest.mark.parametrize("adapter", [bfl.BflAdapter, fal.FalAdapter, replicate.ReplicateAdapter])
async def test_a_job_that_was_kept_with_a_foreign_address_is_asked_about_at_home(
    adapter: Any, pool: WorkPool
) -> None:
    """What the ledger kept may be older than the configuration of today."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=READY[request.url.path])

    call = call_from({}, upstream_model="fal-ai/flux/dev", api_key=SecretStr("sk-1"), poll_s=5.0)
    async with open_outbound(api=httpx.MockTransport(answer)) as outbound:
        result: ProviderResult = await adapter(outbound, pool).resume(call, STRANGER)

    assert [image.url for image in result.images] == [LINK]
    assert result.upstream_id == "job-1"
    assert {request.url.host for request in asked} == {"provider.test"}
    assert all("sk-1" in str(request.headers.raw) for request in asked)


@pytest.mark.parametrize(
    ("credits", "usd"),
    [
        (3, "0.03"),
        (4.5, "0.045"),
        (0, "0"),
        (None, None),
        ("3", None),
        (True, None),
        (-1, None),
        (1e300, None),
    ],
)
def test_bfl_tells_its_charge_in_credits(credits: Any, usd: str | None) -> None:
    told = bfl.cost_usd(credits)

    assert (None if told is None else str(told)) == usd


@pytest.mark.parametrize(("model", "most"), [("flux-3-image", 4), ("flux-2-max", 5), ("flux-kontext-pro", 6)])
def test_bfl_is_loose_only_where_the_caller_asks(model: str, most: int) -> None:
    def sent(**fields: Any) -> Any:
        body = bfl.write_body(call_from({}, upstream_model=model, fields=fields))
        assert "moderation" not in body
        return body.get("safety_tolerance")

    assert sent(moderation="low") == most
    assert sent(moderation="low", safety_tolerance=1) == most
    assert sent(moderation="auto", safety_tolerance=1) == 1
    assert sent(moderation="auto") is None
    assert sent() is None


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("fal-ai/flux/dev", "fal-ai/flux"),
        ("fal-ai/flux-2-pro", "fal-ai/flux-2-pro"),
        ("bytedance/seedream/v5/pro/text-to-image", "bytedance/seedream"),
    ],
)
def test_fal_tells_of_work_below_the_owner_and_the_alias(model: str, place: str) -> None:
    call = call_from({}, upstream_model=model)

    assert fal.status_place(call, "job-1") == f"{BASE_URL}/{place}/requests/job-1/status"


@pytest.mark.parametrize(("deadline_s", "held"), [(0.3, "wait=1"), (5.0, "wait=2"), (180.0, "wait=5")])
async def test_replicate_holds_on_for_a_moment_only(deadline_s: float, held: str, pool: WorkPool) -> None:
    said: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        said.append(request.headers["prefer"])
        return httpx.Response(201, json=READY["/v1/predictions/job-1"])

    async with open_outbound(api=httpx.MockTransport(answer)) as outbound:
        adapter = replicate.ReplicateAdapter(outbound, pool)
        await adapter.generate(call_from({}, upstream_model="a/b", deadline_s=deadline_s))

    assert said == [held]


def test_replicates_own_waiting_time_is_read_where_no_header_tells_it() -> None:
    assert [replicate.wait_s(given) for given in (1, 0.5, None, True, "1", -1, 1e9)] == [
        1.0,
        0.5,
        *[None] * 5,
    ]


@pytest.mark.parametrize("error", [None, "", 7, {"message": "x"}, "out of memory (E1001)"])
def test_replicates_failures_without_a_reason_are_not_refusals(error: Any) -> None:
    assert isinstance(replicate.read_failed(error, "job-1"), RefusedUnbilled)


async def test_a_body_with_pictures_is_written_in_a_thread(pool: WorkPool) -> None:
    wrote: list[bool] = []

    def write(call: ProviderCall) -> dict[str, Any]:
        wrote.append(threading.current_thread() is threading.main_thread())
        return fal.write_body(call)

    plain = await pictures.written(pool, write, call_from({}))
    edit = call_from({}, images=["png 8x8"])
    heavy = await pictures.written(pool, write, edit)

    assert wrote == [True, False]
    assert isinstance(plain, dict)
    assert json.loads(heavy) == fal.write_body(edit)  # type: ignore[arg-type]
