"""OpenAI's moderation endpoint, or one that copies it: `POST {base}/moderations`.

It takes a text, or a list of a text part and an image part; more than one image in a request is refused with
`too_many_images`, so each has a request of its own. Source: OpenAI's API reference and reports of that refusal in
public issue trackers, read 2026-11-21.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pybase64
from pydantic import SecretStr
from pydantic_core import to_json

from imagegate.errors import OperatorError
from imagegate.moderation.calling import INLINE_BYTES, ask
from imagegate.moderation.verdicts import Finding, ModeratorFailed, Picture, Subject, tidy
from imagegate.outbound import Outbound
from imagegate.pool import WorkPool

NAME = "openai"
BASE_URL = "https://api.openai.com/v1"
THRESHOLDS = "IMAGEGATE_MODERATION_OPENAI_THRESHOLDS"


@dataclass(frozen=True, slots=True)
class OpenAiModerator:
    """thresholds: least score, 0 to 1, at which a category counts; of the others the endpoint's own word does."""

    outbound: Outbound
    pool: WorkPool
    base_url: str
    model: str
    key: SecretStr | None = None
    thresholds: Mapping[str, float] | None = None
    name: str = NAME

    @property
    def version(self) -> str:
        whole = to_json([self.base_url, self.model, sorted((self.thresholds or {}).items())])
        return hashlib.sha256(whole).hexdigest()[:12]

    async def judge(self, subject: Subject, timeout_s: float) -> Finding:
        """One request a picture, all at the same time; the text goes with the first. At output pictures alone go."""
        text = text_of(subject) if subject.stage == "input" else None
        first, *others = subject.pictures or (None,)
        questions = [(text, first), *((None, picture) for picture in others)]
        if len(questions) == 1:
            return await self._ask(*questions[0], timeout_s)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._caught(*question, timeout_s)) for question in questions]
        found = [task.result() for task in asked]
        flagged = [finding for finding in found if isinstance(finding, Finding) and finding.flagged]
        for failed in found:
            if isinstance(failed, Exception) and not flagged:
                raise failed
        return Finding(
            self.name, bool(flagged), tidy(name for finding in flagged for name in finding.categories)
        )

    async def _caught(
        self, text: str | None, picture: Picture | None, timeout_s: float
    ) -> Finding | Exception:
        try:
            return await self._ask(text, picture, timeout_s)
        except Exception as error:
            return error

    async def _ask(self, text: str | None, picture: Picture | None, timeout_s: float) -> Finding:
        large = picture is not None and len(picture.data) > INLINE_BYTES
        write = (self.model, text, picture)
        body = await self.pool.run(write_body, *write) if large else write_body(*write)
        headers = {"authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}
        url = f"{self.base_url}/moderations"
        answer = await ask(self.outbound, url, body, headers, name=self.name, timeout_s=timeout_s)
        return read_answer(answer, self.thresholds or {}, self.name)


def text_of(subject: Subject) -> str:
    return "\n\n".join(subject.texts)


def write_body(model: str, text: str | None, picture: Picture | None) -> bytes:
    """A text alone goes as a plain string, which every server of this kind takes."""
    if picture is None:
        return to_json({"model": model, "input": text or ""})
    url = f"data:{picture.mime};base64,{pybase64.b64encode(picture.data).decode('ascii')}"
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return to_json({"model": model, "input": [*parts, {"type": "image_url", "image_url": {"url": url}}]})


def read_answer(body: Any, thresholds: Mapping[str, float], name: str = NAME) -> Finding:
    """What it found, in all of its results together. Raises ModeratorFailed when it says nothing of `flagged`."""
    results = body.get("results") if isinstance(body, dict) else None
    if not isinstance(results, list) or not results:
        raise ModeratorFailed("answered without results")
    found: list[str] = []
    flagged = False
    for result in results:
        if not isinstance(result, dict) or not isinstance(result.get("flagged"), bool):
            raise ModeratorFailed("answered with a result that does not say whether it is flagged")
        categories = counted(result, thresholds)
        by_itself = result["flagged"] and not (thresholds and decided(result, thresholds))
        flagged = flagged or bool(categories) or by_itself
        found += categories
    return Finding(name, flagged, tidy(found) if flagged else ())


def counted(result: Mapping[str, Any], thresholds: Mapping[str, float]) -> list[str]:
    """The categories that count: by their score where there is a threshold for it, else by the endpoint's word."""
    said, scores = mapping(result.get("categories")), mapping(result.get("category_scores"))
    names = [name for name in {**said, **scores} if isinstance(name, str)]
    return [name for name in names if counts(name, said, scores, thresholds)]


def counts(
    name: str, said: Mapping[str, Any], scores: Mapping[str, Any], thresholds: Mapping[str, float]
) -> bool:
    least, score = thresholds.get(name), scores.get(name)
    if least is None or not isinstance(score, int | float) or isinstance(score, bool):
        return said.get(name) is True
    return score >= least


def decided(result: Mapping[str, Any], thresholds: Mapping[str, float]) -> bool:
    """Whether its word is explained by categories that thresholds speak of; else it stands for itself."""
    true = [name for name, value in mapping(result.get("categories")).items() if value is True]
    return bool(true) and all(name in thresholds for name in true)


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def read_thresholds(text: str) -> dict[str, float]:
    """`violence=0.8,sexual=0.5`. Raises OperatorError."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.rpartition("=")
        try:
            score = float(number)
        except ValueError:
            score = -1.0
        if not name.strip() or not 0 <= score <= 1:
            raise OperatorError(
                f"{THRESHOLDS}: {part!r} is no threshold. Write category=score, a score from 0 to 1, by commas."
            )
        found[name.strip()] = score
    return found
