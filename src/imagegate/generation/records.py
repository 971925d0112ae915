"""A generation as rows of the database, and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.domain import (
    Asked,
    Attempt,
    Candidate,
    Generation,
    GenerationRequest,
    Image,
    InputImage,
    ParameterReceipt,
    Plan,
    Principal,
    Reservation,
    Size,
)
from imagegate.errors import ImagegateError, NotFound
from imagegate.generation import previews, quotes
from imagegate.generation.moderating import recorded
from imagegate.generation.progress import Execution
from imagegate.generation.purge import check_kept
from imagegate.ids import made_at, parse_public_id
from imagegate.journal.tables import attempts, generations, images
from imagegate.moderation.verdicts import Verdict
from imagegate.services import Services

REQUEST_FIELDS = tuple(
    f.name for f in fields(GenerationRequest) if f.name not in ("stream", "later", "own_key")
)
STATUS = {"queued": "queued", "running": "in_progress", "in_doubt": "in_progress", "captured": "completed"}


def open_row(
    services: Services,
    principal: Principal,
    said: Mapping[str, Any],
    plan: Plan,
    verdict: Verdict | None = None,
) -> dict[str, Any]:
    judged = {"moderation": recorded([verdict])} if verdict is not None else {}
    return {
        **judged,
        "app_id": principal.told_app,
        "worker_id": services.journal.worker_id,
        "ttl_s": services.settings.deadline_s,
        "model": plan.model.id,
        "price_version": plan.quote.price_version,
        "quote": quotes.quote_json(plan),
        "request": said,
    }


def arrived_json(asked: Asked) -> dict[str, Any]:
    """How a request arrived, for the log. It stands beside what was said, and is no part of its fingerprint."""
    arrived = {"session_id": asked.session, "trace_id": asked.trace, "body_bytes": asked.body_bytes}
    arrived["request_id"] = asked.request_id
    known = {name: value for name, value in arrived.items() if value is not None}
    return {"arrived": known} if known else {}


def request_json(request: GenerationRequest) -> dict[str, Any]:
    """What was said, and nothing that was not."""
    said = {name: getattr(request, name) for name in REQUEST_FIELDS}
    said["size"] = str(request.size) if request.size else None
    said["images"] = [input_json(image) for image in request.images] or None
    said["mask"] = input_json(request.mask) if request.mask else None
    said["strict"] = request.strict or None
    said["partial_images"] = request.partial_images or None
    said["by_own_key"] = request.own_key is not None or None
    said["treated"] = [(r.name, r.treatment, r.detail) for r in request.treated] or None
    return {name: value for name, value in said.items() if value is not None and value != {}}


def input_json(image: InputImage) -> dict[str, Any]:
    """A picture by its URL or by the checksum of its bytes, which are not kept here."""
    if image.kept is not None:
        return {"image_id": image.kept}
    if image.data is None:
        return {"url": image.url}
    known = image.sha256 or sha256(image.data).digest()
    return {"sha256": known.hex(), "bytes": len(image.data)}


def request_from(said: Mapping[str, Any]) -> GenerationRequest:
    """The request as it was recorded, for whoever goes on with it. Of its pictures only their number is sure."""
    size = Size.parse(said["size"]) if said.get("size") else None
    known = {name: said[name] for name in REQUEST_FIELDS if name in said}
    images = tuple(InputImage(url=image.get("url")) for image in said.get("images", ()))
    mask = InputImage(url=said["mask"].get("url")) if "mask" in said else None
    treated = tuple(ParameterReceipt(*receipt) for receipt in said.get("treated", ()))
    return GenerationRequest(**{**known, "size": size, "images": images, "mask": mask, "treated": treated})


def captured_row(plan: Plan, run: Execution) -> dict[str, Any]:
    quote = plan.quote
    billed = {"unit": quote.unit, "size": str(quote.size), "quality": quote.quality, "count": len(run.images)}
    if quote.inputs.images:
        billed |= {"input_images": quote.inputs.images, "input_megapixels": quote.inputs.megapixels}
    if shown := previews.counted(run):
        billed |= {"previews": shown}
    result = {
        "usage": run.usage or None,
        "parameters": receipts_json(served(plan, run).fit.receipts),
        "reencoded": run.images[0].reencoded,
    }
    return {"billed": billed, "result": result, "answer_status": 200}


def served(plan: Plan, run: Execution) -> Candidate:
    """The candidate whose treatment of the parameters the caller is told."""
    return run.served or plan.candidates[0]


def voided_row(error: Exception) -> dict[str, Any]:
    known = (
        error if isinstance(error, ImagegateError) else ImagegateError("The gateway failed; this is a bug.")
    )
    return {"answer_status": known.status, "answer_code": known.code, "answer_message": known.message[:2000]}


def receipts_json(receipts: Iterable[ParameterReceipt]) -> dict[str, Any]:
    return {
        r.name: {"treatment": r.treatment, "detail": r.detail} if r.detail else {"treatment": r.treatment}
        for r in receipts
    }


def image_rows(made: Iterable[Image], keep_h: int) -> list[dict[str, Any]]:
    return [
        {
            "idx": idx,
            "object": image.object,
            "sha256": "\\x" + image.sha256.hex(),
            "bytes": image.size_bytes,
            "width_px": image.size.width_px,
            "height_px": image.size.height_px,
            "mime": image.mime,
            "revised_prompt": image.revised_prompt,
            "keep_h": keep_h,
        }
        for idx, image in enumerate(made)
    ]


def attempt_rows(made: Iterable[Attempt]) -> list[dict[str, Any]]:
    return [
        {
            "seq": attempt.seq,
            "provider": attempt.provider,
            "offering": attempt.upstream_model,
            "class": attempt.outcome,
            "images": attempt.images,
            "detail": attempt.detail,
            "slot": attempt.slot,
            "credential_id": attempt.credential_id,
            "upstream_id": attempt.upstream_id,
            "upstream_url": attempt.upstream_url,
            "cost_usd": attempt.cost_usd,
            "at_risk_usd": attempt.at_risk_usd,
            "started_at": attempt.started_at,
            "ms": attempt.ms,
            **({"epoch": attempt.epoch} if attempt.epoch else {}),
        }
        for attempt in made
    ]


def completed(
    reservation: Reservation,
    plan: Plan,
    run: Execution,
    charged: int,
    balance: int | None,
) -> Generation:
    """The generation as the line has just made it, its images still in memory."""
    return Generation(
        id=reservation.generation_id,
        status="completed",
        created_at=made_at(reservation.generation_id),
        completed_at=datetime.now(UTC),
        model=plan.model.id,
        request=reservation.said,
        quote=quotes.quote_json(plan),
        images=tuple(run.images),
        attempts=tuple(run.attempts),
        charged_tokens=charged,
        balance_tokens=balance,
        usage=run.usage or None,
        receipts=served(plan, run).fit.receipts,
        moderation=recorded(run.verdicts),
    )


async def get_generation(connection: AsyncConnection, principal: Principal, public_id: str) -> Generation:
    """The caller's own generation. Raises NotFound, with one text for absent and foreign ones; Conflict 410 if gone."""
    return check_kept(await read_generation(connection, principal, public_id), datetime.now(UTC))


async def read_generation(connection: AsyncConnection, principal: Principal, public_id: str) -> Generation:
    """The same, also when its images are gone."""
    generation_id = parse_public_id("gen", public_id)
    owner = (principal.account_id, principal.env, generation_id)
    key = (generations.c.account_id, generations.c.env, generations.c.id)
    query = select(generations).where(*(column == value for column, value in zip(key, owner, strict=True)))
    row = (await connection.execute(query)).one_or_none() if generation_id else None
    if row is None:
        raise NotFound("There is no such generation.")
    stored = (await connection.execute(_of(images, row).order_by(images.c.idx))).all()
    tried = (await connection.execute(_of(attempts, row).order_by(attempts.c.epoch, attempts.c.seq))).all()
    return from_rows(row, stored, tried)


def _of(table: Any, row: Any) -> Any:
    return select(table).where(
        table.c.account_id == row.account_id, table.c.env == row.env, table.c.generation_id == row.id
    )


def from_rows(row: Any, stored: Sequence[Any], tried: Sequence[Any]) -> Generation:
    result = row.result or {}
    receipts = result.get("parameters") or {}
    cancelled = row.answer_code == "cancelled"
    return Generation(
        id=row.id,
        status=STATUS.get(row.state, "cancelled" if cancelled else "failed"),
        created_at=made_at(row.id),
        completed_at=row.settled_at,
        model=row.model,
        request=row.request,
        quote=row.quote,
        images=tuple(image_from(image, result) for image in stored),
        attempts=tuple(attempt_from(attempt) for attempt in tried),
        charged_tokens=row.charged_tokens,
        usage=result.get("usage"),
        receipts=tuple(ParameterReceipt(n, r["treatment"], r.get("detail")) for n, r in receipts.items()),
        error_code=row.answer_code,
        error_message=row.answer_message,
        error_status=row.answer_status,
        moderation=row.moderation,
        key_id=row.key_id,
    )


def image_from(row: Any, result: Mapping[str, Any]) -> Image:
    return Image(
        object=row.object,
        sha256=row.sha256,
        size_bytes=row.bytes,
        size=Size(row.width_px, row.height_px),
        mime=row.mime,
        revised_prompt=row.revised_prompt,
        reencoded=bool(result.get("reencoded")),
        expires_at=row.expires_at,
    )


def attempt_from(row: Any) -> Attempt:
    return Attempt(
        row.seq,
        row.provider,
        row.offering,
        getattr(row, "class"),
        row.images,
        row.started_at,
        row.ms,
        row.detail,
        row.upstream_id,
        row.cost_usd,
        row.at_risk_usd,
        row.epoch,
        row.upstream_url,
        row.slot,
        row.credential_id,
    )
