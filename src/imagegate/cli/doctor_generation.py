"""`imagegate doctor ID`: why one generation ended as it did, what its caller was told, and whether money moved."""

from decimal import Decimal
from typing import Any

from imagegate.cli.desk import Desk, run

CLASSES = {
    "DELIVERED": "made its images",
    "IN_FLIGHT": "was being asked",
    "NOT_SENT": "could not be reached: nothing was sent",
    "REFUSED_UNBILLED": "refused the call, certainly without a bill",
    "REJECTED": "found the request itself at fault",
    "BILLED_INVALID": "billed it, but sent no usable image",
    "AMBIGUOUS": "may have made and billed it: its answer never came",
}
STATES = {
    "queued": "It waits for a worker that takes jobs.",
    "running": "It is being made.",
    "in_doubt": "Its worker is gone, or the provider's answer is awaited; recovery ends it.",
}
NEXT = {
    "queued": "imagegate serve (no process that serves: no job is made); or imagegate generations cancel {id}",
    "running": "imagegate logs tail --follow",
    "in_doubt": "imagegate doctor (is a gateway running that sweeps it up?)",
    "moderation_blocked": "imagegate request {id} (what moderators said); the caller changes the prompt",
    "all_providers_failed": "imagegate providers test {provider}",
    "upstream_timeout": "imagegate providers show {provider}",
    "rejected_by_provider": "imagegate models parameters {model} (what it takes)",
    "job_expired": "imagegate config show (IMAGEGATE_JOB_CONCURRENCY, IMAGEGATE_JOB_EXPIRES_S)",
    "storage_unavailable": "imagegate doctor (disk and image store)",
    "worker_lost": "imagegate doctor; the caller sends the request again",
    "moderation_unavailable": "imagegate config check (the moderators)",
    "no_provider_configured": "imagegate providers list",
    "provider_key_rejected": "none here: the caller's own provider key was refused",
    "cancelled": "none: its caller or an operator cancelled it",
}


def explain(generation: str, json: bool) -> None:
    async def work(desk: Desk) -> None:
        from imagegate.admin.requests import show_request
        from imagegate.db.base import snapshot

        async with desk.registry() as registry, snapshot(registry.engine) as connection:
            shown = await show_request(connection, registry.catalogue, generation)
        found = explained(shown)
        desk.answer(found, text_of(found))

    run(work, json=json)


def explained(shown: dict[str, Any]) -> dict[str, Any]:
    """As JSON. told: null while the caller has no answer yet."""
    return {
        "id": shown["id"],
        "status": shown["status"],
        "model": shown["model"],
        "account": shown["account"],
        "env": shown["env"],
        "why": why(shown),
        "attempts": [attempt_text(attempt) for attempt in shown["attempts"]],
        "told": told(shown),
        "money": money(shown),
        "next": next_of(shown),
    }


def why(shown: dict[str, Any]) -> str:
    if shown["state"] in STATES:
        return STATES[shown["state"]]
    if shown["status"] == "completed":
        missing = shown["requested_images"] - shown["images"]
        by = ", ".join(shown["providers"])
        short = f"; {missing} of {shown['requested_images']} could not be made" if missing else ""
        return f"It did not fail: {shown['images']} images were made by {by}{short}."
    if shown["status"] == "cancelled":
        return "It was cancelled before anybody began it."
    if not shown["attempts"]:
        return f"It failed before any provider was asked: {shown['code'] or shown['outcome']}."
    last = shown["attempts"][-1]
    return f"It failed: {last['provider']} {CLASSES.get(last['class'], last['class'])}."


def attempt_text(attempt: dict[str, Any]) -> str:
    detail = f" ({attempt['detail']})" if attempt["detail"] else ""
    what = CLASSES.get(attempt["class"], attempt["class"])
    return f"{attempt['provider']} {attempt['offering']} {what} in {attempt['ms']:,} ms{detail}"


def told(shown: dict[str, Any]) -> dict[str, Any] | None:
    if shown["error"] is not None:
        error: dict[str, Any] = shown["error"]
        return error
    if shown["status"] == "completed":
        return {"status": 200, "code": None, "message": f"{shown['images']} images"}
    return None


def money(shown: dict[str, Any]) -> dict[str, Any]:
    """says: in a sentence. at_risk_usd: what a provider may bill us though nobody paid for it."""
    moved, bill = bool(shown["transfers"]), shown["bill"]
    charged, refunded = shown["charged_tokens"], bill["refunded_tokens"]
    held = f"{shown['hold_tokens']:,} tokens"
    if shown["status"] in ("queued", "in_progress"):
        says = f"{held} are held, none is charged yet."
    elif moved:
        says = f"{charged:,} tokens were charged of {held} held."
        says += f" {refunded:,} were refunded since." if refunded else ""
    else:
        says = f"Nothing was charged: the hold of {held} was given back."
    if Decimal(shown["at_risk_usd"]):
        says += f" A provider may bill us USD {shown['at_risk_usd']}."
    costs = {name: shown[name] for name in ("cost_usd", "at_risk_usd")}
    return {"moved": moved, "charged_tokens": charged, "refunded_tokens": refunded, **costs, "says": says}


def next_of(shown: dict[str, Any]) -> str:
    """The next command."""
    if shown["status"] == "completed":
        return f"imagegate request {shown['id']}"
    last = shown["attempts"][-1]["provider"] if shown["attempts"] else "NAME"
    known = NEXT.get(shown["state"]) or NEXT.get(shown["code"] or "") or "imagegate request {id}"
    return known.format(id=shown["id"], provider=last, model=shown["model"])


def text_of(found: dict[str, Any]) -> str:
    lines = [f"{found['id']}  {found['status']}  {found['model']} for {found['account']} ({found['env']})"]
    lines.append(found["why"])
    lines += [f"  {number}. {attempt}" for number, attempt in enumerate(found["attempts"], 1)]
    answer = found["told"]
    said = f"{answer['status']} {answer['code'] or ''} {answer['message']}" if answer else "nothing yet"
    lines += [f"The caller was told: {' '.join(said.split())}", f"Money: {found['money']['says']}"]
    return "\n".join([*lines, f"Next: {found['next']}"])
