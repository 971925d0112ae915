"""All moderators together: asked at the same time, within one budget, for one verdict."""

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from time import monotonic

import structlog

from imagegate.errors import AttemptFailed, OperatorError, Overloaded
from imagegate.moderation import openai, webhook
from imagegate.moderation.blocklist import Blocklist
from imagegate.moderation.openai import OpenAiModerator
from imagegate.moderation.verdicts import Finding, Moderator, ModeratorFailed, Policy, Subject, Verdict
from imagegate.moderation.webhook import WebhookModerator
from imagegate.outbound import Outbound
from imagegate.pool import WorkPool
from imagegate.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Panel:
    """blocklist: asked first, at once. asked: over the network. policy: of accounts and keys that have none.

    budget_s: the longest wait for all of them. fail_open: what a moderator says nothing of passes.
    outputs: whether images that were made are judged too.
    """

    blocklist: Blocklist = field(default_factory=Blocklist)
    asked: tuple[Moderator, ...] = ()
    policy: Policy = "block"
    budget_s: float = 2.0
    fail_open: bool = False
    outputs: bool = False

    def __bool__(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self.asked) or bool(self.blocklist)

    @property
    def version(self) -> str:
        """A short hash over all that a verdict depends on here."""
        parts = [self.blocklist.version, *(f"{m.name} {m.version}" for m in self.asked)]
        parts += [f"{self.budget_s:g}", str(self.fail_open), str(self.outputs)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    async def judge(self, subject: Subject) -> Verdict:
        """Does not raise. What the blocklist blocks is shown to nobody else; a blocklist alone never waits."""
        findings: tuple[Finding, ...] = ()
        if subject.stage == "input" and self.blocklist:
            findings = (self.blocklist.judge(subject),)
        blocked = subject.policy == "block" and any(finding.flagged for finding in findings)
        if self.asked and not blocked:
            findings += await self._ask_all(subject)
        verdict = Verdict(subject.id, subject.stage, subject.policy, self.version, findings)
        silent = any(finding.failure is not None for finding in findings)
        return replace(verdict, failed_open=self.fail_open and silent)

    async def _ask_all(self, subject: Subject) -> tuple[Finding, ...]:
        if len(self.asked) == 1:
            return (await self._ask(self.asked[0], subject),)
        return tuple(await asyncio.gather(*(self._ask(moderator, subject) for moderator in self.asked)))

    async def _ask(self, moderator: Moderator, subject: Subject) -> Finding:
        since = monotonic()
        try:
            async with asyncio.timeout(self.budget_s):
                found = await moderator.judge(subject, self.budget_s)
        except TimeoutError:
            found = Finding(moderator.name, failure=f"gave no verdict within {self.budget_s:g} s")
        except (ModeratorFailed, AttemptFailed, Overloaded) as error:
            found = Finding(moderator.name, failure=str(error))
        if found.failure is not None:
            log.warning("moderator_failed", moderator=moderator.name, stage=subject.stage, why=found.failure)
        return replace(found, ms=round((monotonic() - since) * 1000))


def open_panel(settings: Settings, outbound: Outbound, pool: WorkPool) -> Panel:
    """The moderators that the settings name. Raises OperatorError naming what is wrong."""
    asked: list[Moderator] = []
    if settings.moderation_openai_key is not None or settings.moderation_openai_url is not None:
        asked.append(
            OpenAiModerator(
                outbound,
                pool,
                checked_url(
                    "IMAGEGATE_MODERATION_OPENAI_URL", settings.moderation_openai_url or openai.BASE_URL
                ).rstrip("/"),
                settings.moderation_openai_model,
                settings.moderation_openai_key,
                openai.read_thresholds(settings.moderation_openai_thresholds),
            )
        )
    if settings.moderation_webhook_url is not None:
        url = checked_url("IMAGEGATE_MODERATION_WEBHOOK_URL", settings.moderation_webhook_url)
        secret = webhook.read_secret(settings.moderation_webhook_secret)
        asked.append(WebhookModerator(outbound, pool, url, secret))
    if settings.moderation_output and not asked:
        raise OperatorError(
            "IMAGEGATE_MODERATION_OUTPUT is set, but nobody is there to look at images. Set "
            "IMAGEGATE_MODERATION_OPENAI_KEY or IMAGEGATE_MODERATION_WEBHOOK_URL too."
        )
    return Panel(
        blocklist=Blocklist.read(settings.moderation_blocklist_file),
        asked=tuple(asked),
        policy=settings.moderation_policy,
        budget_s=settings.moderation_budget_s,
        fail_open=settings.moderation_fail_open,
        outputs=settings.moderation_output,
    )


def checked_url(setting: str, url: str) -> str:
    """Raises OperatorError."""
    if not url.startswith(("http://", "https://")):
        raise OperatorError(f"{setting} must begin with http:// or https://.")
    return url
