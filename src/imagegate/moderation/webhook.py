"""A moderator of your own: an HTTP service that is asked with a signed request and says whether to flag.

Signed as Standard Webhooks says; see `imagegate.signing`.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import pybase64
from pydantic import SecretStr
from pydantic_core import to_json

from imagegate import signing
from imagegate.errors import OperatorError
from imagegate.moderation.calling import INLINE_BYTES, ask
from imagegate.moderation.verdicts import LONGEST_REASON, Finding, ModeratorFailed, Subject, tidy
from imagegate.outbound import Outbound
from imagegate.pool import WorkPool
from imagegate.signing import LONGEST_BYTES, SHORTEST_BYTES, signed_headers

NAME = "webhook"
SECRET = "IMAGEGATE_MODERATION_WEBHOOK_SECRET"  # noqa: S105 a setting's name


@dataclass(frozen=True, slots=True)
class WebhookModerator:
    """secret: the bytes that sign."""

    outbound: Outbound
    pool: WorkPool
    url: str
    secret: bytes
    name: str = NAME

    @property
    def version(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    async def judge(self, subject: Subject, timeout_s: float) -> Finding:
        large = sum(len(picture.data) for picture in subject.pictures) > INLINE_BYTES
        body = await self.pool.run(write_body, subject) if large else write_body(subject)
        headers = signed_headers((self.secret,), subject.id, int(time.time()), body)
        answer = await ask(self.outbound, self.url, body, headers, name=self.name, timeout_s=timeout_s)
        return read_answer(answer, self.name)


def write_body(subject: Subject) -> bytes:
    images = [
        {"mime": picture.mime, "b64": pybase64.b64encode(picture.data).decode("ascii")}
        for picture in subject.pictures
    ]
    return to_json(
        {
            "id": subject.id,
            "stage": subject.stage,
            "policy": subject.policy,
            "account": subject.account,
            "prompt": subject.prompt,
            "negative_prompt": subject.negative_prompt,
            "fields": list(subject.fields),
            "images": images,
        }
    )


def read_answer(body: Any, name: str = NAME) -> Finding:
    """Raises ModeratorFailed when it does not say whether it is flagged."""
    if not isinstance(body, dict) or not isinstance(body.get("flagged"), bool):
        raise ModeratorFailed("answered without saying whether it is flagged")
    if not body["flagged"]:
        return Finding(name)
    categories, reason = body.get("categories"), body.get("reason")
    return Finding(
        name,
        True,
        tidy(categories if isinstance(categories, list) else ()),
        reason[:LONGEST_REASON] if isinstance(reason, str) and reason else None,
    )


def read_secret(secret: SecretStr | None) -> bytes:
    """`whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks writes it. Raises OperatorError."""
    try:
        return signing.read_secret(secret.get_secret_value() if secret else "")
    except ValueError:
        raise OperatorError(
            f"{SECRET} must be whsec_ and the base64 of {SHORTEST_BYTES} to {LONGEST_BYTES} random bytes, since "
            'IMAGEGATE_MODERATION_WEBHOOK_URL is set. Make one: echo "whsec_$(openssl rand -base64 32)"'
        ) from None
