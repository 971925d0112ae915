"""From what a provider gave to durable bytes: decode, probe, fit, checksum, store."""

import asyncio
import hashlib
from dataclasses import dataclass, replace

import pybase64

from imagegate import failpoints
from imagegate.domain import Candidate, Image, Output, ProviderImage, Reservation
from imagegate.errors import BilledInvalid, ModerationUnavailable, OutputBlocked
from imagegate.generation import moderating
from imagegate.generation.progress import Execution
from imagegate.media import images, objects
from imagegate.media.formats import NotAnImage
from imagegate.services import Services

INLINE_BYTES = 96 * 1024
"""Below this an image that needs no conversion is read on the event loop: a thread costs more than the work."""


class Unusable(Exception):
    """The bytes are no picture. The provider may have billed them."""


@dataclass(frozen=True, slots=True)
class Prepared:
    data: bytes
    b64: bytes | memoryview | None
    sha256: bytes
    probe: images.Probe
    reencoded: bool


async def deliver(
    services: Services,
    reservation: Reservation,
    candidate: Candidate,
    made: ProviderImage,
    run: Execution,
) -> Image:
    """Make one image durable, if moderation lets it pass.

    Raises BilledInvalid (no usable picture), OutputBlocked, ModerationUnavailable, StorageUnavailable, Overloaded.
    """
    provider = candidate.offering.provider
    if made.url is not None:
        made = await _fetched(services, reservation, candidate, made.url)
    try:
        prepared = await _prepare(services, made, candidate.fit.output)
    except Unusable as error:
        raise BilledInvalid(provider, f"sent an image that {error}") from None
    name = name_of(reservation, prepared, run.next_idx())
    if moderating.judges_outputs(services, reservation):
        await _let_pass(services, reservation, name, prepared, run)
    failpoints.reach(services.settings, "before_store")
    await services.store.put(name, prepared.data)
    failpoints.reach(services.settings, "after_put")
    return Image(
        object=name,
        sha256=prepared.sha256,
        size_bytes=len(prepared.data),
        size=prepared.probe.size,
        mime=prepared.probe.mime,
        revised_prompt=made.revised_prompt,
        b64=prepared.b64,
        reencoded=prepared.reencoded,
    )


def name_of(reservation: Reservation, prepared: Prepared, index: int) -> str:
    who = reservation.principal
    return objects.object_name(
        who.account_id,
        who.env,
        reservation.generation_id,
        epoch=reservation.epoch,
        index=index,
        sha256=prepared.sha256,
        format=prepared.probe.format,
    )


async def _let_pass(
    services: Services, reservation: Reservation, name: str, prepared: Prepared, run: Execution
) -> None:
    """Return when the image may be delivered; else keep it in quarantine, where no link leads, and raise."""
    data, mime = prepared.data, prepared.probe.mime
    verdict = await moderating.judge_output(services, reservation, data, mime)
    if verdict.passes:
        run.verdicts.append(verdict)
        return
    held = objects.quarantined(name)
    await services.store.put(held, data)
    run.verdicts.append(replace(verdict, object=held))
    if verdict.flagged:
        raise OutputBlocked
    raise ModerationUnavailable(
        "The image was made, but is not given out unseen. Nothing was charged; try again."
    )


async def _fetched(
    services: Services, reservation: Reservation, candidate: Candidate, url: str
) -> ProviderImage:
    left_s = reservation.deadline - asyncio.get_running_loop().time()
    data = await services.outbound.fetch(
        url,
        trusted_hosts=candidate.credential.trusted_hosts,
        timeout_s=max(left_s, 0.1),
        max_bytes=images.MAX_BYTES,
        provider=candidate.offering.provider,
    )
    return ProviderImage(data=data)


async def _prepare(services: Services, made: ProviderImage, output: Output) -> Prepared:
    weight = len(made.data or made.b64 or b"")
    if weight > INLINE_BYTES:
        return await services.pool.run(prepare, made, output)
    data = decoded(made)
    probe = probed(data)
    if needs_conversion(probe, output):
        return await services.pool.run(prepare, made, output)
    return packed(data, probe, reusable(made), output)


def prepare(made: ProviderImage, output: Output) -> Prepared:
    """Blocking. Raises Unusable."""
    data = decoded(made)
    probe = probed(data)
    if not needs_conversion(probe, output):
        return packed(data, probe, reusable(made), output)
    try:
        data = images.convert(data, size=output.size, format=output.format, compression=output.compression)
    except NotAnImage as error:
        raise Unusable(str(error)) from None
    return packed(data, probed(data), None, output, reencoded=True)


def decoded(made: ProviderImage) -> bytes:
    if made.data is not None:
        return made.data
    try:
        raw = raw_b64(made)
        if is_url_safe(raw):
            return pybase64.urlsafe_b64decode(bytes(raw) + b"=" * (-len(raw) % 4))
        return pybase64.b64decode(raw, validate=True)
    except ValueError:
        raise Unusable("is broken base64") from None


def raw_b64(made: ProviderImage) -> bytes | memoryview:
    """Raises UnicodeEncodeError, a ValueError, for text that is not ASCII."""
    b64 = made.b64 or b""
    return b64.encode("ascii") if isinstance(b64, str) else b64


def is_url_safe(raw: bytes | memoryview) -> bool:
    first = bytes(raw[:4096])
    return b"-" in first or b"_" in first


def probed(data: bytes) -> images.Probe:
    try:
        return images.probe(data)
    except NotAnImage as error:
        raise Unusable(str(error)) from None


def needs_conversion(probe: images.Probe, output: Output) -> bool:
    return (
        (output.size is not None and output.size != probe.size)
        or (output.format is not None and output.format != probe.format)
        or output.compression is not None
    )


def reusable(made: ProviderImage) -> bytes | memoryview | None:
    """The provider's own base64, where it is in the standard alphabet and padded."""
    if not made.b64 or len(made.b64) % 4:
        return None
    raw = raw_b64(made)
    return None if is_url_safe(raw) else raw


def packed(
    data: bytes,
    probe: images.Probe,
    b64: bytes | memoryview | None,
    output: Output,
    *,
    reencoded: bool = False,
) -> Prepared:
    if not output.b64:
        b64 = None
    elif b64 is None:
        b64 = pybase64.b64encode(data)
    return Prepared(data, b64, hashlib.sha256(data).digest(), probe, reencoded)
