"""`imagegate webhooks`: how the ends of async jobs are told."""

from typing import Annotated, Any, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import AccountName, Env, EnvOption, Json, ReasonOrNone, actor

app = typer.Typer(
    name="webhooks",
    help="Webhooks: secret and URL of an account, what became of events, once more.",
    no_args_is_help=True,
)

MOST = 200
State = Literal["pending", "delivered", "failed"]


@app.command()
def secret(account: AccountName, reason: ReasonOrNone = "by command line", json: Json = False) -> None:
    """Show what an account's events are signed with. It is made at the first time."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import webhooks
        from imagegate.identity.audit import Actor
        from imagegate.registry import seals_of

        async with desk.registry() as registry, registry.engine.begin() as tx:
            seals = seals_of(registry.keyring)
            shown = await webhooks.show_secret(tx, seals, account, Actor(actor(), reason))
        desk.answer(shown, shown["secret"])

    run(work, json=json)


@app.command()
def rotate(
    account: AccountName,
    keep_old_h: Annotated[
        int, typer.Option(min=0, help="How long the old secret signs beside the new one, in hours.")
    ] = 24,
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Make a new secret and show it. Until the old one ends, every event carries a signature by each."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import webhooks
        from imagegate.identity.audit import Actor
        from imagegate.registry import seals_of

        async with desk.registry() as registry, registry.engine.begin() as tx:
            seals = seals_of(registry.keyring)
            made = await webhooks.rotate_secret(tx, seals, account, keep_old_h, Actor(actor(), reason))
        desk.answer(made, f"{made['secret']}\n\nThe old secret signs too for {keep_old_h} hours more.")

    run(work, json=json)


@app.command("set")
def set_(
    account: AccountName,
    url: Annotated[str, typer.Option(metavar="URL", help="Public, by https.")],
    env: EnvOption = "live",
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Set where events go of jobs that name no URL of their own and are accepted from now on."""
    set_endpoint(account, env, url, reason, json=json)


@app.command()
def unset(
    account: AccountName,
    env: EnvOption = "live",
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Send nothing for jobs that name no URL of their own and are accepted from now on."""
    set_endpoint(account, env, None, reason, json=json)


def set_endpoint(account: str, env: str, url: str | None, reason: str, *, json: bool) -> None:
    async def work(desk: Desk) -> None:
        from imagegate.admin import webhooks
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry, registry.engine.begin() as tx:
            by = Actor(actor(), reason)
            shown = await webhooks.set_endpoint(tx, registry.settings, account, env, url, by)
        goes = f"go to {url}" if url else "go nowhere"
        desk.answer(shown, f"Events of {shown['account']} ({env}) {goes}, where a job names no URL.")

    run(work, json=json)


@app.command("list")
def list_(
    account: AccountName,
    env: Annotated[Env | None, typer.Option("--env", help="Only of this environment.")] = None,
    state: Annotated[State | None, typer.Option("--state", help="Only in this state.")] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Those that follow this one.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="How many.")] = 50,
    json: Json = False,
) -> None:
    """List an account's events, newest first, and where they go."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import webhooks
        from imagegate.errors import NotFound
        from imagegate.ids import parse_public_id

        after_id = parse_public_id("msg", after) if after is not None else None
        if after is not None and after_id is None:
            raise NotFound(f"{after!r} is no id of an event: that is msg_ and 32 hex digits.")
        async with desk.registry() as registry, registry.engine.connect() as connection:
            places = await webhooks.list_endpoints(connection, account)
            wanted = (account, env, state, after_id, limit + 1)
            name, rows = await webhooks.page_events(connection, *wanted)
        listed = [webhooks.event_json(row, name) for row in rows[:limit]]
        answer_list(desk, places, listed, more=len(rows) > limit)

    run(work, json=json)


def answer_list(
    desk: Desk, places: list[dict[str, Any]], listed: list[dict[str, Any]], *, more: bool
) -> None:
    following = listed[-1]["id"] if more else None
    rows = [
        (
            event["id"],
            event["created_at"],
            event["env"],
            event["type"],
            event["generation"],
            event["state"],
            str(event["tries"]),
            event["last_error"] or str(event["last_status"] or ""),
            event["next_at"] or "",
        )
        for event in listed
    ]
    columns = ("id", "made", "env", "type", "generation", "state", "tries", "latest", "next try")
    value = {"endpoints": places, "events": listed, "next": following}
    desk.answer_table(value, columns, rows, "There is no such event.")
    if desk.json:
        return
    for place in places:
        desk.say(f"{place['env']}: {place['url'] or 'no URL is set'}")
    if following:
        desk.say(f"There are more: --after {following}")


@app.command()
def redeliver(
    event_id: Annotated[
        str | None, typer.Argument(metavar="[EVENT_ID]", help="msg_… as `webhooks list` shows it.")
    ] = None,
    generation: Annotated[
        str | None, typer.Option("--generation", metavar="ID", help="gen_…: all of its events.")
    ] = None,
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Send an event once more under the same id, also one that was delivered. Any running gateway does so at once."""
    if (event_id is None) == (generation is None):
        raise typer.BadParameter("Name an event, msg_…, or --generation gen_….")

    async def work(desk: Desk) -> None:
        from imagegate.admin import webhooks
        from imagegate.identity.audit import Actor

        by = Actor(actor(), reason)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            if generation is not None:
                sent = await webhooks.redeliver_generation(tx, generation, by)
            else:
                sent = [await webhooks.redeliver_event(tx, event_id or "", by)]
        lines = [f"{event['id']} goes to {event['url']} once more." for event in sent]
        desk.answer({"events": sent}, "\n".join(lines))

    run(work, json=json)


@app.command("test")
def ping(account: AccountName, env: EnvOption = "live", json: Json = False) -> None:
    """Send a test.ping to the account's URL, at once, and tell how that went. Exit code 1 when it was not taken."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import webhooks
        from imagegate.outbound import open_outbound
        from imagegate.registry import seals_of

        async with desk.registry() as registry, open_outbound() as outbound:
            seals, settings = seals_of(registry.keyring), registry.settings
            told = await webhooks.send_test(registry.engine, outbound, settings, seals, account, env)
        how = f"was taken with {told['status']}" if told["delivered"] else f"failed: {told['error']}"
        desk.answer(told, f"test.ping {told['id']} to {told['url']} {how} ({told['ms']} ms).")
        if not told["delivered"]:
            raise typer.Exit(1)

    run(work, json=json)
