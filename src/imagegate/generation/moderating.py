"""Where moderation stands on the line: before the hold over what was said, and after the making over what was made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import structlog

from imagegate.domain import GenerationRequest, InputImage, Principal, Reservation
from imagegate.errors import ContentRejected, ModerationUnavailable
from imagegate.ids import new_id, public_id
from imagegate.moderation.verdicts import Picture, Policy, Stage, Subject, Verdict
from imagegate.services import Services

log = structlog.get_logger()


def policy_of(services: Services, principal: Principal) -> Policy:
    """The key's, else its account's, else the gateway's; `off` where there is nobody to ask."""
    panel = services.moderation
    return cast(Policy, principal.moderation or panel.policy) if panel else "off"


async def check_input(
    services: Services, principal: Principal, request: GenerationRequest, policy: Policy
) -> Verdict:
    """Judge prompt, negative prompt and pictures; nothing is held yet. The pictures have been fetched.

    Raises ContentRejected under the policy `block`; ModerationUnavailable when a moderator says nothing and that does
    not let pass.
    """
    given = (*request.images, request.mask) if request.mask else request.images
    subject = Subject(
        public_id("mod", new_id()),
        "input",
        policy,
        public_id("acc", principal.account_id),
        request.prompt,
        request.negative_prompt,
        pictures_of(given),
        tuple(texts_in([request.style, *request.extras.values()])),
    )
    verdict = await services.moderation.judge(subject)
    note(services, verdict, key=public_id("key", principal.key_id))
    if verdict.word == "blocked":
        what = "the prompt or a picture that came with it" if given else "the prompt"
        raise ContentRejected(
            f"This gateway's moderation refused {what}. Change it and ask again. Nothing was held or charged."
        )
    if verdict.word == "unavailable":
        raise ModerationUnavailable(
            "Nothing was held or charged, and no provider was asked; try again shortly."
        )
    return verdict


def texts_in(value: Any) -> Iterator[str]:
    """Every text in what came as JSON, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def pictures_of(images: Sequence[InputImage]) -> tuple[Picture, ...]:
    return tuple(Picture(i.data, f"image/{i.format or 'png'}") for i in images if i.data is not None)


def judges_outputs(services: Services, reservation: Reservation) -> bool:
    return judges_outputs_of(services, reservation.principal)


def judges_outputs_of(services: Services, principal: Principal) -> bool:
    panel = services.moderation
    return bool(panel.outputs and panel.asked) and policy_of(services, principal) != "off"


async def judge_output(services: Services, reservation: Reservation, data: bytes, mime: str) -> Verdict:
    """One image that was made. Does not raise: whoever asks keeps what is blocked, and then refuses it."""
    said = reservation.said
    subject = Subject(
        public_id("mod", new_id()),
        "output",
        policy_of(services, reservation.principal),
        public_id("acc", reservation.principal.account_id),
        str(said.get("prompt", "")),
        said.get("negative_prompt"),
        (Picture(data, mime),),
    )
    verdict = await services.moderation.judge(subject)
    note(services, verdict, generation=public_id("gen", reservation.generation_id))
    return verdict


def note(services: Services, verdict: Verdict, **about: str) -> None:
    """Count it; what is more than `passed` is logged, without prompt and pictures."""
    services.status.moderated[verdict.stage, verdict.word] += 1
    if verdict.word == "passed":
        return
    flagged = [finding.moderator for finding in verdict.findings if finding.flagged]
    log.info(
        "moderation",
        id=verdict.subject_id,
        stage=verdict.stage,
        verdict=verdict.word,
        policy=verdict.policy,
        moderators=flagged,
        categories=verdict.categories,
        **about,
    )


def recorded(verdicts: Sequence[Verdict]) -> dict[str, Any] | None:
    """As it stands in `generations.moderation`; None when nobody was asked."""
    if not verdicts:
        return None
    last = verdicts[-1]
    return {
        "policy": last.policy,
        "version": last.version,
        "verdicts": [verdict.to_json() for verdict in verdicts],
    }


def told(record: Any) -> dict[str, Any] | None:
    """What of a record its caller is told; None when nothing was flagged."""
    flagged = [verdict for verdict in (record or {}).get("verdicts", ()) if verdict["flagged"]]
    if not flagged:
        return None
    stages: list[Stage] = list(dict.fromkeys(verdict["stage"] for verdict in flagged))
    names = {name for verdict in flagged for said in verdict["moderators"] for name in said["categories"]}
    return {
        "policy": record["policy"],
        "version": record["version"],
        "flagged": True,
        "stages": stages,
        "categories": sorted(names),
    }
