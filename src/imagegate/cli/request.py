"""`imagegate request`: everything that is known of one request."""

from typing import Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.generations import text_of as generation_text
from imagegate.cli.options import Json


def request(
    id_: Annotated[
        str,
        typer.Argument(metavar="ID", help="gen_…, an image's gen_…_0, an event's msg_…, or req_…."),
    ],
    json: Json = False,
) -> None:
    """Show a request: what was asked, its price line by line, attempts, images, moderation, ledger and webhooks.

    By req_…, or by the caller's own X-Request-ID, every generation that it opened, and what else it changed.
    """

    async def work(desk: Desk) -> None:
        from imagegate.admin import requests
        from imagegate.db.base import snapshot

        async with desk.registry() as registry, snapshot(registry.engine) as connection:
            if requests.names_a_generation(id_):
                shown = await requests.show_request(connection, registry.catalogue, id_)
                desk.answer(shown, text_of(shown))
                return
            shown = await requests.show_by_request(connection, registry.catalogue, id_)
        told = [*map(text_of, shown["generations"]), "\n".join(map(entry_text, shown["entries"]))]
        desk.answer(shown, "\n\n".join(part for part in told if part))

    run(work, json=json)


def entry_text(entry: dict[str, Any]) -> str:
    return f"{entry['at']}  {entry['actor']}  {entry['action']}  {entry['target']}  {entry['reason']}"


def text_of(shown: dict[str, Any]) -> str:
    lines = [generation_text(shown), "", "asked"]
    lines += [f"  {name}: {value}" for name, value in shown["request"].items()]
    if job := shown["job"]:
        taken = f"taken up {job['claimed_at']}" if job["claimed_at"] else "not taken up yet"
        lines += ["", f"job: {taken}, {job['claims']} times; not before {job['due_at'] or 'now'}"]
    lines += ["", f"state {shown['state']}{outcome_of(shown)}, epoch {shown['epoch']}"]
    if shown["stored"]:
        lines += ["", "images"]
        lines += [
            f"  {image['size']} {image['mime']}, {image['bytes']:,} bytes, kept until {image['expires_at']}\n"
            f"    {image['object']}  sha256 {image['sha256']}"
            for image in shown["stored"]
        ]
    lines += ["", *moderation_lines(shown["moderation"])]
    lines += ["", "webhooks"] if shown["webhooks"] else []
    for event in shown["webhooks"]:
        end = event["last_error"] or event["last_status"] or "not tried yet"
        lines.append(f"  {event['id']}  {event['type']} to {event['url']}: {event['state']}, {end}")
    return "\n".join(lines)


def outcome_of(shown: dict[str, Any]) -> str:
    return f" ({shown['outcome']})" if shown["outcome"] else ""


def moderation_lines(record: dict[str, Any] | None) -> list[str]:
    if record is None:
        return ["moderation: nobody was asked"]
    lines = [f"moderation under the policy {record['policy']}"]
    for verdict in record["verdicts"]:
        asked = ", ".join(f"{said['name']}: {word_of(said)}" for said in verdict["moderators"])
        lines.append(f"  {verdict['stage']}: {'flagged' if verdict['flagged'] else 'passed'} ({asked})")
    return lines


def word_of(said: dict[str, Any]) -> str:
    """What a moderator found, or why it found nothing."""
    return ", ".join(said["categories"]) or said.get("failure") or said.get("reason") or "nothing"
