"""Async jobs as their caller sees them: accepted with their hold, cancelled while nobody has begun them.

What was accepted is in the database, its pictures in the store; whichever process has room takes it up (`jobs`).
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import text

from imagegate import failpoints
from imagegate.domain import Asked, Generation, GenerationRequest, InputImage, Principal
from imagegate.errors import CallerError, Conflict, InvalidRequest
from imagegate.generation import admission, inputs, pipeline, quotes, recall, records, summary
from imagegate.generation.admission import Admission
from imagegate.generation.listening import Listening
from imagegate.generation.pipeline import Work
from imagegate.generation.settling import PATIENCE_S
from imagegate.identity.limits import RateLimited
from imagegate.ids import made_at, new_id, public_id
from imagegate.journal.items import Drop, Existing, Settled
from imagegate.media import objects
from imagegate.outbound.hooks import check_hook_url
from imagegate.services import Services
from imagegate.webhooks.endpoints import find_endpoint

WHO = tuple(
    f.name for f in fields(Principal) if f.name not in ("account_id", "env", "key_id", "limits", "keepalive")
)
"""What is kept of the caller: under whose labels and policies its job runs."""
WAITING = text(
    """
    SELECT count(*) FROM (SELECT 1 FROM generations
        WHERE account_id = :account_id AND env = :env AND state = 'queued' LIMIT :most) AS waiting
    """
)
RETRY_AFTER_S = 30
COUNTED_S, MOST_COUNTED = 1.0, 10_000
EPOCH = 1
"""Pictures that are handed in lie under the first epoch, whichever works with them."""


async def accept(
    services: Services,
    principal: Principal,
    request: GenerationRequest,
    asked: Asked,
    listener: Listening,
    link_base: str,
) -> Generation:
    """Take the hold and queue the job; a request that is known already is told as it stands.

    link_base: of the links that its webhook will carry. Raises what `pipeline.generate` raises before the cut, and
    InvalidRequest: `byok_not_async`, `webhook_url_not_allowed`.
    """
    check(services, request)
    request = await inputs.summed(services.pool, request)
    said = records.request_json(request)
    fingerprint = recall.fingerprint_of(principal, asked, said)
    known = await services.spans.over("recall", recall.find(services, principal, asked, fingerprint))
    failpoints.reach(services.settings, "after_recall")
    if known is None:
        plan = services.spans.plain("plan", pipeline.estimate, services, principal, request)
        job = await job_of(services, principal, request, link_base)
        entering = admission.enter(services, principal, request, plan, slot=False)
        entered = await services.spans.over("admit", entering)
        listener.admitted(entered.taken)
        if entered.request.images:
            plan = await pipeline.measured(services, principal, entered)
        failpoints.reach(services.settings, "after_admission")
        places = (said, fingerprint, plan, entered, 0.0, new_id())
        work = Work(principal, entered.request, asked, listener, *places, job=job)
        known = await services.supervisor.start(_open(services, work))
        if known.generation_id == work.generation_id:
            pipeline.mark_when_gone(services, principal, asked, listener, known.generation_id)
            return queued(work)
    recall.check_same(known.fingerprint, fingerprint)
    pipeline.mark_when_gone(services, principal, asked, listener, known.generation_id)
    return replace(await read(services, principal, known.generation_id), replayed=True)


def queued(work: Work) -> Generation:
    """The job as it has just been recorded."""
    made, plan = made_at(work.generation_id), work.plan
    return Generation(work.generation_id, "queued", made, plan.model.id, work.said, quotes.quote_json(plan))


def check(services: Services, request: GenerationRequest) -> None:
    """Raises InvalidRequest for what a job cannot have."""
    if request.own_key is not None:
        text = "Your own provider key is kept nowhere, so a job cannot use it. Ask without it, or wait for the answer."
        raise InvalidRequest(text, code="byok_not_async", param="x-provider-key")
    if request.stream:
        raise InvalidRequest("A job has no stream. Ask for one of the two.", param="stream")
    if request.webhook_url is not None:
        check_hook_url(request.webhook_url, allow_private=services.settings.webhook_allow_private)


async def job_of(
    services: Services, principal: Principal, request: GenerationRequest, link_base: str
) -> dict[str, Any]:
    """What is recorded of the job. Where its webhook goes is fixed now. Raises RateLimited where too many wait."""
    most = services.settings.jobs_waiting_max
    if await waiting(services, principal, most) >= most:
        told = f"{most} jobs of this account wait already. Ask again once some of them are done."
        raise RateLimited(told, (), RETRY_AFTER_S)
    url = request.webhook_url
    if url is None:
        async with services.engine.connect() as connection:
            url = await find_endpoint(connection, principal.account_id, principal.env)
    who = {name: value for name in WHO if (value := getattr(principal, name)) is not None}
    return {"webhook_url": url, "link_base": link_base, "who": who}


async def waiting(services: Services, principal: Principal, most: int) -> int:
    """How many jobs of the wallet wait, up to `most`: counted once a second, and those accepted here since."""
    counted, wallet = services.status.jobs_counted, (principal.account_id, principal.env)
    at, jobs = counted.get(wallet, (0.0, 0))
    if monotonic() - at > COUNTED_S:
        if len(counted) > MOST_COUNTED:
            counted.clear()
        owner = {"account_id": principal.account_id, "env": principal.env, "most": most}
        async with services.engine.connect() as connection:
            at, jobs = monotonic(), (await connection.execute(WAITING, owner)).scalar_one()
    counted[wallet] = at, jobs + 1
    return jobs


async def _open(services: Services, work: Work) -> Existing:
    """In a task of its own, so that a caller who leaves leaves neither a hold nor pictures that nobody knows of."""
    async with admission.inside(services, work.admission):
        await keep_pictures(services, work.principal, work.generation_id, work.admission)
        try:
            opened = await pipeline.reserve(services, work)
        except BaseException:
            await drop_pictures(services, work.principal.account_id, work.principal.env, work.generation_id)
            raise
    if opened.generation_id != work.generation_id:  # it is known; a lost one still has its own
        await drop_pictures(services, work.principal.account_id, work.principal.env, work.generation_id)
    services.status.jobs_due.set()
    if isinstance(opened, Existing):
        return opened
    return Existing(opened.generation_id, "queued", work.fingerprint)


async def keep_pictures(
    services: Services, principal: Principal, generation_id: UUID, entered: Admission
) -> None:
    """Store what was handed in. Raises StorageUnavailable."""
    request = entered.request
    for index, picture in enumerate([*request.images, *([request.mask] if request.mask else [])]):
        name = objects.object_name(
            principal.account_id,
            principal.env,
            generation_id,
            epoch=EPOCH,
            index=index,
            sha256=picture.sha256 or b"",
            format=picture.format or "",
        )
        await services.store.put(objects.handed_in(name), picture.data or b"")


async def kept_pictures(
    services: Services, account_id: UUID, env: str, generation_id: UUID
) -> list[InputImage]:
    """What was handed in, in its order, the mask last; with its bytes, not yet measured."""
    place = objects.handed_in(objects.epoch_prefix(account_id, env, generation_id, EPOCH))
    names = await services.store.list(place)
    ordered = sorted(names, key=lambda name: int(name.rpartition("/")[2].partition("-")[0]))
    return [InputImage(data=await services.store.get(name)) for name in ordered]


async def drop_pictures(services: Services, account_id: UUID, env: str, generation_id: UUID) -> None:
    place = objects.handed_in(objects.epoch_prefix(account_id, env, generation_id, EPOCH))
    for name in await services.store.list(place):
        await services.store.delete(name)


async def read(services: Services, principal: Principal, generation_id: UUID) -> Generation:
    async with services.engine.connect() as connection:
        return await records.read_generation(connection, principal, public_id("gen", generation_id))


async def cancel(services: Services, principal: Principal, name: str) -> Generation:
    """End a job that nobody has begun, at no cost; one that is cancelled already is told again.

    Raises NotFound; Conflict 409 `not_cancellable` once it runs or has ended.
    """
    async with services.engine.connect() as connection:
        known = await records.read_generation(connection, principal, name)
    if known.status == "queued":
        error = CallerError("The job was cancelled before it began. Nothing was charged.")
        error.status, error.code = 499, "cancelled"
        row: Mapping[str, Any] = records.voided_row(error)
        item = Drop(principal.account_id, principal.env, known.id, row, told=False)
        if isinstance(await services.journal.change(item, patience_s=PATIENCE_S), Settled):
            summary.cancelled(services, principal, known)
            await drop_pictures(services, principal.account_id, principal.env, known.id)
        known = await read(services, principal, known.id)
    if known.status != "cancelled":
        told = {"completed": "is completed", "failed": "has failed"}.get(known.status, "is being made")
        raise Conflict(f"{known.public_id} {told}: it can no longer be cancelled.", code="not_cancellable")
    return known
