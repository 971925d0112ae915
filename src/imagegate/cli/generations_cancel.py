"""`imagegate generations cancel`: an async job that nobody has begun is ended."""

from typing import Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason, actor


def cancel(
    generation: Annotated[
        str, typer.Argument(metavar="ID", help="gen_… as `generations list --status queued` shows it.")
    ],
    reason: Reason,
    json: Json = False,
) -> None:
    """Cancel a job that waits, at no cost; exit 1 once it runs or has ended. Works beside running gateways.

    Whether it still waits is decided in the database, in one step with the release of its hold.
    """

    async def work(desk: Desk) -> None:
        from imagegate.admin import generations
        from imagegate.domain import Principal
        from imagegate.generation import accepting
        from imagegate.identity.audit import Actor, record

        async with desk.services(desk.quiet_settings()) as services:
            async with services.engine.connect() as connection:
                row = await generations.find(connection, generation)
            was_cancelled = row.state == "voided"
            owner = Principal(row.account_id, row.env, row.key_id)
            known = await accepting.cancel(services, owner, f"gen_{row.id.hex}")
            if not was_cancelled:
                by, account = Actor(actor(), reason), row.account_id
                async with services.engine.begin() as tx:
                    await record(tx, by, "generations.cancel", known.public_id, account_id=account)
        shown = {"id": known.public_id, "status": known.status, "released_tokens": row.hold_tokens}
        again = (
            "was cancelled before"
            if was_cancelled
            else f"is cancelled, {row.hold_tokens:,} tokens are released"
        )
        desk.answer(shown | {"new": not was_cancelled}, f"{known.public_id} {again}.")

    run(work, json=json)
