"""`imagegate providers`: who can be asked for pictures, with which of our keys, and how they do."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli import providers_add, providers_trial
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, Reason, ReasonOrNone, actor

if TYPE_CHECKING:
    from pydantic import SecretStr

    from imagegate.admin.providers import Place
    from imagegate.registry import Registry

app = typer.Typer(
    name="providers",
    help="Providers: list them, add and revoke our keys there, enable, disable and test them.",
    no_args_is_help=True,
)

app.command()(providers_add.add)
app.command("test")(providers_trial.try_out)

ProviderName = Annotated[str, typer.Argument(metavar="NAME", help="As `providers list` shows it.")]
SOON = "Running gateways take it up within two seconds."


@app.command("list")
def list_(json: Json = False) -> None:
    """List the providers: whether they can be asked, our keys' last characters, and how their offerings do."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import providers

        async with desk.registry() as registry, registry.engine.connect() as connection:
            listed = await providers.list_providers(connection, await place_of(registry))
        columns = ("provider", "asked", "keys", "models", "base URL", "")
        desk.answer_table({"providers": listed}, columns, [row_of(shown) for shown in listed], "")

    run(work, json=json)


@app.command()
def show(name: ProviderName, json: Json = False) -> None:
    """Show one provider: its keys, the models it sells, and the health of each as running gateways saw it last."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import providers

        async with desk.registry() as registry, registry.engine.connect() as connection:
            shown = await providers.show_provider(connection, await place_of(registry), name)
        desk.answer(shown, "\n".join(lines_of(shown)))

    run(work, json=json)


@app.command("add-key")
def add_key(
    provider: ProviderName,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="How you tell this key from others.")],
    from_stdin: Annotated[
        bool, typer.Option("--from-stdin", help="Read the key from standard input.")
    ] = False,
    from_env: Annotated[
        str | None, typer.Option("--from-env", metavar="VAR", help="Read the key from this variable.")
    ] = None,
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Add a key, sealed under the master secret and never shown again; without an option it is asked for.

    A key is no argument: those stand in the shell's history and in the list of processes, where others can read them.
    """
    if from_stdin and from_env is not None:
        raise typer.BadParameter("Name one place: --from-stdin or --from-env.")
    plain = read_key(provider, from_stdin, from_env)

    async def work(desk: Desk) -> None:
        from imagegate.admin import providers
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry:
            place = await place_of(registry)
            async with registry.engine.begin() as tx:
                made = await providers.add_key(tx, place, provider, name, plain, Actor(actor(), reason))
                shown = await providers.show_provider(tx, place, provider)
        still = "" if shown["configured"] else f" It also needs {' and '.join(shown['missing'])}."
        text = f"{made.public_id} ({made.name}, …{made.hint}) is kept for {provider}. {SOON}{still}"
        desk.answer(providers.key_json(made), text)

    run(work, json=json)


@app.command("revoke-key")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="pvk_… as `providers list` shows it.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Revoke a key for good and delete it here. Withdraw it at the provider as well."""

    async def work(desk: Desk) -> None:
        from imagegate.admin import providers
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry, registry.engine.begin() as tx:
            key = await providers.revoke_key(tx, key_id, Actor(actor(), reason))
        text = f"{key.public_id} ({key.name}) of {key.provider} is revoked. {SOON}"
        desk.answer(providers.key_json(key), text)

    run(work, json=json)


@app.command()
def enable(name: ProviderName, reason: Reason, json: Json = False) -> None:
    """Let a provider be asked again."""
    switch(name, True, reason, json)


@app.command()
def disable(name: ProviderName, reason: Reason, json: Json = False) -> None:
    """Let nobody ask a provider. What it has accepted is finished and paid."""
    switch(name, False, reason, json)


def switch(name: str, enabled: bool, reason: str, json: bool) -> None:
    async def work(desk: Desk) -> None:
        from imagegate.admin import providers
        from imagegate.identity.audit import Actor

        async with desk.registry() as registry:
            place = await place_of(registry)
            async with registry.engine.begin() as tx:
                await providers.set_enabled(tx, place.catalogue, name, enabled, Actor(actor(), reason))
                shown = await providers.show_provider(tx, place, name)
        desk.answer(shown, f"{name} is {'enabled' if enabled else 'disabled'}. {SOON}")

    run(work, json=json)


def read_key(provider: str, from_stdin: bool, from_env: str | None) -> "SecretStr":
    """From where the operator said, else asked for without an echo. Raises BadParameter where there is none."""
    from pydantic import SecretStr

    if from_env is not None:
        plain = os.environ.get(from_env, "")
    elif from_stdin:
        plain = sys.stdin.readline()
    elif sys.stdin.isatty():
        plain = typer.prompt(f"Key of {provider}", hide_input=True, err=True)
    else:
        raise typer.BadParameter("There is no terminal to ask on: use --from-stdin or --from-env VAR.")
    if not plain.strip():
        raise typer.BadParameter(f"{from_env or 'standard input'} holds no key.")
    return SecretStr(plain.strip())


async def place_of(registry: "Registry") -> "Place":
    """How keys have fared is known to running gateways alone; of offerings each writes its last view down."""
    from imagegate.admin.providers import Place
    from imagegate.routing import rows
    from imagegate.routing.health import Health

    health = Health(chance=lambda: 0.0)
    await rows.load(registry.engine, health)
    return Place(
        registry.catalogue, registry.settings, registry.keyring, registry.credentials, health.snapshot()
    )


def row_of(provider: dict[str, Any]) -> tuple[str, ...]:
    keys = [key for key in provider["keys"] if key["state"] != "revoked"]
    hints = ", ".join(key_text(key) for key in keys) or "none"
    resting = [seen["offering"] for seen in provider["health"] if seen["state"] != "closed"]
    remark = f"resting: {', '.join(resting)}" if resting else ""
    if not provider["configured"]:
        remark = f"needs {' and '.join(provider['missing'])}"
    elif not provider["enabled"]:
        remark = f"disabled: {provider['rule']['reason']}"
    asked = "yes" if provider["available"] else "no"
    return (
        provider["name"],
        asked,
        hints,
        str(len(provider["models"])),
        provider["base_url"] or "",
        remark,
    )


def key_text(key: dict[str, Any]) -> str:
    """The end of a key, and its state where it is not just ready."""
    end = f"…{key['hint']}" if key["hint"] else "a short one"
    return end if key["state"] == "ready" else f"{end} ({key['state']})"


def lines_of(provider: dict[str, Any]) -> list[str]:
    name, _, hints, _, base_url, remark = row_of(provider)
    lines = [f"{name}: {'can be asked' if provider['available'] else 'is not asked'}"]
    lines += [f"  {remark}"] if remark else []
    lines += [f"  base URL  {base_url or 'none'}", f"  keys      {hints}"]
    for key in provider["keys"]:
        why = f": it {key['why']}" if key["why"] else ""
        lines.append(f"    {key['id']}  {key['name']}  {key_text(key)}{why}")
    lines.append(f"  models    {', '.join(provider['models']) or 'none'}")
    for seen in provider["health"]:
        usual = "" if seen["p50_s"] is None else f", usually {seen['p50_s']:g} s"
        until = f" until {seen['until']}" if seen["until"] else ""
        lines.append(f"  health    {seen['offering']}: {seen['state']}{until}{usual}")
    return lines
