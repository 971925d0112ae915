"""A provider that is polled, for gateways in processes of their own: it accepts a POST, its picture is fetched."""

from uuid import uuid4

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult, UpstreamJob
from imagegate.media.images import MAX_BYTES
from imagegate.outbound import Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from tests.fake_provider import FakeProvider

NAME = "crashpolled"
MODEL = "crash/polled"
IMAGE_TOKENS = 5_880


def catalogue(fake: FakeProvider) -> str:
    """An operator's catalogue file that has the fake provider sell a model which is polled."""
    return f"""
providers:
  {NAME}:
    adapter: {__name__}:PolledAdapter
    base_url: {fake.base_url}
    trusted_hosts: ["127.0.0.1:{fake.port}"]
models:
- id: {MODEL}
  offerings:
  - {{provider: {NAME}, model: polled, max_n: 10, cost: {{usd: 0.005}}}}
prices:
  {MODEL}: {{tokens: {IMAGE_TOKENS}}}
"""


class PolledAdapter:
    """What the provider answers to the POST is not looked at: it has accepted the work."""

    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        body = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n, "size": str(call.size)}
        await self._outbound.post_json(
            f"{call.base_url}/images/generations",
            body=body,
            headers=wire.headers_for(call),
            provider=NAME,
            timeout_s=call.deadline_s,
        )
        origin = call.base_url.removesuffix("/v1")
        job = UpstreamJob(f"job-{uuid4().hex}", f"{origin}/pictures/{call.size}.png")
        await call.accepted(job)
        return await self.resume(call, job)

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult:
        assert job.url is not None
        data = await self._outbound.fetch(
            job.url, trusted_hosts=call.trusted_hosts, timeout_s=10, max_bytes=MAX_BYTES, provider=NAME
        )
        return ProviderResult(tuple(ProviderImage(data=data) for _ in range(call.n)), upstream_id=job.id)
