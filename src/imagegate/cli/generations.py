"""`imagegate generations`: what was made, how its charge came about, refunds, purges, and jobs cancelled."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imagegate.cli import generations_cancel
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AnyAccountName, Env, Json, Reason, actor
from imagegate.errors import InvalidRequest

if TYPE_CHECKING:
    from uuid import UUID

app = typer.Typer(
    name="generations", help="Generations: search, show, refund, purge, cancel.", no_args_is_help=True
)
app.command()(generations_cancel.cancel)

MOST = 200
Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
GenerationId = Annotated[
    str, typer.Argument(metavar="ID", help="gen_… as `generations list` and every answer show it.")
]
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def a_moment(text: str | None) -> str | None:
    if text is not None:
        read_moment(text)
    return text


def read_moment(text: str) -> datetime:
    """`90m`, `24h`, `7d`: so long ago; else RFC 3339 or a day, as 2027-01-31, in UTC. Raises BadParameter."""
    if text[-1:] in UNITS and text[:-1].isdecimal() and len(text) <= 6:
        return datetime.now(UTC) - timedelta(**{UNITS[text[-1]]: int(text[:-1])})
    from imagegate.generation import listing

    try:
        return listing.read_moment(text, "it")
    except InvalidRequest:
        said = f"{text!r} is no time: write 24h, 7d, 2027-01-31 or 2027-01-31T09:30:00Z."
        raise typer.BadParameter(said) from None


Since = Annotated[
    str | None, typer.Option(metavar="WHEN", callback=a_moment, help="24h, 7d, a day or a time (UTC).")
]
Until = Annotated[
    str | None, typer.Option(metavar="WHEN", callback=a_moment, help="Before then; as --since.")
]


AnyEnv = Annotated[Env | None, typer.Option("--env", help="Only of this environment.")]
AnyStatus = Annotated[Status | None, typer.Option("--status", help="Only of this status.")]
AnyModel = Annotated[str | None, typer.Option("--model", "-m", help="Any name of a model.")]
AnyKey = Annotated[str | None, typer.Option("--key", help="Only with this key: key_….")]
AnyTeam = Annotated[str | None, typer.Option("--team", help="Only with keys of this team.")]
AnyApp = Annotated[str | None, typer.Option("--app", help="Only of this app.")]
AnyProvider = Annotated[str | None, typer.Option("--provider", help="Only where this one was asked.")]
AnyClass = Annotated[
    str | None, typer.Option("--class", help="Only with an attempt that ended so, as AMBIGUOUS.")
]
IdText = Annotated[str | None, typer.Option("--id", metavar="TEXT", help="Text that the id has in it.")]
After = Annotated[str | None, typer.Option("--after", metavar="ID", help="Those that follow this one.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MOST, help="How many.")]


@app.command("list")
def list_(
    account: AnyAccountName = None,
    env: AnyEnv = None,
    status: AnyStatus = None,
    model: AnyModel = None,
    key: AnyKey = None,
    team: AnyTeam = None,
    app_: AnyApp = None,
    provider: AnyProvider = None,
    class_: AnyClass = None,
    since: Since = None,
    until: Until = None,
    id_: IdText = None,
    after: After = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List generations, newest first."""

    async def work(desk: Desk) -> None:
        from imagegate.admin.generation_search import Search, search
        from imagegate.generation.listing import known_as

        begun, ended = (read_moment(text) if text else None for text in (since, until))
        async with desk.registry() as registry, registry.engine.connect() as connection:
            model_id = known_as(registry.catalogue, model) if model else None
            labels = (key, team, app_, provider, class_)
            wanted = Search(account, env, status, model_id, *labels, begun, ended, id_)
            found = await search(connection, wanted, read_id(after), limit + 1)
        answer_list(desk, [summary.to_json() for summary in found], limit)

    run(work, json=json)


def answer_list(desk: Desk, found: list[dict[str, Any]], limit: int) -> None:
    """found: one more than `limit` when there are further ones."""
    listed = found[:limit]
    more = listed[-1]["id"] if len(found) > limit else None
    columns = ("id", "made", "account", "env", "status", "model", "images", "tokens", "providers", "code")
    rows = [row_of(generation) for generation in listed]
    desk.answer_table({"generations": listed, "next": more}, columns, rows, "There is no such generation.")
    if more and not desk.json:
        desk.say(f"There are more: --after {more}")


def read_id(text: str | None) -> "UUID | None":
    from imagegate.errors import NotFound
    from imagegate.ids import parse_public_id

    if text is None:
        return None
    found = parse_public_id("gen", text)
    if found is None:
        raise NotFound(f"{text!r} is no id of a generation: that is gen_ and 32 hex digits.")
    return found


def row_of(shown: dict[str, Any]) -> tuple[str, ...]:
    tokens = (
        f"{shown['charged_tokens']:,}" if shown["status"] == "completed" else f"({shown['hold_tokens']:,})"
    )
    images = f"{shown['images']}/{shown['requested_images']}"
    names = (
        shown["id"],
        shown["created_at"],
        shown["account"],
        shown["env"],
        shown["status"],
        shown["model"],
    )
    return (*names, images, tokens, ", ".join(shown["providers"]), shown["code"] or "")


@app.command()
def show(generation: GenerationId, json: Json = False) -> None:
    """Show one generation: its price worked out line by line, its attempts, and what the ledger moved."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import generations
        from imagegate.db.base import snapshot

        async with desk.registry() as registry, snapshot(registry.engine) as connection:
            shown = await generations.show(connection, registry.catalogue, generation)
        desk.answer(shown, text_of(shown))

    run(work, json=json)


def text_of(shown: dict[str, Any]) -> str:
    bill, price = shown["bill"], shown["bill"]["price"]
    width = max(len(line["says"]) for line in bill["lines"])
    lines = [
        f"{shown['id']}  {shown['status']}",
        f"{shown['model']} for {shown['account']} ({shown['env']}), {shown['key']}, {shown['created_at']}",
    ]
    if shown["purged_at"]:
        lines.append(f"purged {shown['purged_at']}: prompt and images are gone")
    if shown["error"]:
        lines.append(f"{shown['error']['code']}: {shown['error']['message']}")
    lines += ["", "price in tokens"]
    lines += [f"  {line['says']:<{width}}  {line['tokens']:>14}" for line in bill["lines"]]
    dated = f", {price['source_date']}" if price.get("source_date") else ""
    whose = f" of {price['model']}: {price['source']}{dated}; in force since {price['valid_from']}"
    lines.append(f"  price version {price['version']}{whose if price['model'] else ''}")
    lines += ["", "attempts"] if shown["attempts"] else []
    for attempt in shown["attempts"]:
        cost = f"cost {attempt['cost_usd'] or '?'} USD"
        risk = f", at risk {attempt['at_risk_usd']} USD" if attempt["at_risk_usd"] else ""
        what = (
            f"  {attempt['provider']} {attempt['offering']}: {attempt['class']}, {attempt['images']} images"
        )
        lines.append(f"{what}, {attempt['ms']} ms, {cost}{risk}")
    lines += ["", "ledger"] if shown["transfers"] else []
    for moved in shown["transfers"]:
        way = f"{moved['tokens']:,} tokens {moved['debit']} → {moved['credit']}"
        lines.append(f"  {moved['at']}  {moved['kind']}  {way}, balance {moved['balance_after']:,}")
    return "\n".join(lines)


@app.command()
def refund(
    generation: GenerationId,
    reason: Reason,
    cause: Annotated[
        str, typer.Option(metavar="TEXT", help="What it is for; each cause is refunded once.")
    ] = "operator",
    tokens: Annotated[
        int | None, typer.Option(min=1, help="How many; without it all that is left of the charge.")
    ] = None,
    json: Json = False,
) -> None:
    """Give back what a generation was charged, or a part of it."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import generations
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry, registry.engine.begin() as tx:
            by = Actor(actor(), reason)
            given = await generations.refund(tx, generation, cause=cause, actor=by, tokens=tokens)
        shown = generations.refund_json(given)
        if not given.new:
            desk.say(f"{cause!r} was refunded before: nothing was moved.")
        left = given.captured_tokens - given.refunded_tokens
        text = f"{given.tokens:,} tokens given back for {cause!r}; {left:,} of {given.captured_tokens:,} stay charged."
        desk.answer(shown, text)

    run(work, json=json)


@app.command()
def purge(generation: GenerationId, reason: Reason, json: Json = False) -> None:
    """Remove prompt and images, for good. What was billed and charged stays. Again is no error, and finishes."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import generations
        from imagegate.generation.purge import remove_objects
        from imagegate.identity.audit import Actor
        from imagegate.media.store import open_store
        from imagegate.services import check_store

        async with desk.registry() as registry:
            store = open_store(registry.settings)
            try:
                await check_store(registry.engine, store)
                async with registry.engine.begin() as tx:
                    purged = await generations.mark_purged(tx, generation, Actor(actor(), reason))
                removed = await remove_objects(store, purged)
            finally:
                await store.close()
        shown = generations.purged_json(purged, removed)
        desk.answer(
            shown, f"{shown['id']} is purged: its prompt is gone, and of its images {removed} were deleted."
        )

    run(work, json=json)
