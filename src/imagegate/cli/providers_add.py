"""`imagegate providers add`: a provider in one step: its key asked for, tried, and sealed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, ReasonOrNone, actor

if TYPE_CHECKING:
    from pydantic import SecretStr

    from imagegate.registry import Registry


def add(
    provider: Annotated[str, typer.Argument(metavar="NAME", help="As `providers list` shows it.")],
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="How you tell this key from others.")
    ] = "added by command line",
    from_stdin: Annotated[
        bool, typer.Option("--from-stdin", help="Read the key from standard input.")
    ] = False,
    from_env: Annotated[
        str | None, typer.Option("--from-env", metavar="VAR", help="Read the key from this variable.")
    ] = None,
    untested: Annotated[bool, typer.Option("--untested", help="Keep the key without a question.")] = False,
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Add a provider: ask with its key what costs nothing, and seal the key when it is accepted; exit 1 if refused.

    A key is no argument: those stand in the shell's history and in the list of processes. A refused key is not kept.
    """
    from imagegate.cli.providers import read_key

    if from_stdin and from_env is not None:
        raise typer.BadParameter("Name one place: --from-stdin or --from-env.")
    plain = read_key(provider, from_stdin, from_env)

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry:
            tried = None if untested else await tried_out(desk, registry, provider, plain)
            if tried is not None and tried["ok"] is False:
                refused = {"key": None, "provider": None, "test": tried}
                desk.answer(refused, refusal_text(provider, tried))
                raise typer.Exit(1)
            shown = await seal(registry, provider, name, plain, reason)
        shown["test"] = tried
        desk.answer(shown, text_of(shown))

    run(work, json=json)


async def tried_out(desk: Desk, registry: "Registry", name: str, plain: "SecretStr") -> dict[str, Any] | None:
    """As `providers test` tells it, of this one key; None while the provider has no base URL to ask at."""
    from imagegate.admin.provider_trial import try_keys
    from imagegate.admin.providers import get_provider
    from imagegate.domain import Credential
    from imagegate.identity.credentials import Access, ProviderKey
    from imagegate.identity.provider_keys import hint_of
    from imagegate.outbound import open_outbound

    provider, ours = get_provider(registry.catalogue, name), registry.settings.provider(name)
    base_url = ours.base_url or provider.base_url
    if base_url is None:
        return None
    key = ProviderKey("new", plain, hint_of(plain.get_secret_value()))
    hosts = frozenset(provider.trusted_hosts) | ours.trusted_hosts
    async with open_outbound() as outbound:
        with desk.progress(f"Asking {name}"):
            return await try_keys(
                outbound, provider, Access(Credential(base_url, plain, hosts), (key,), True)
            )


async def seal(
    registry: "Registry", provider: str, name: str, plain: "SecretStr", reason: str
) -> dict[str, Any]:
    from imagegate.admin import providers
    from imagegate.cli.providers import place_of
    from imagegate.identity.audit import Actor

    place = await place_of(registry)
    async with registry.engine.begin() as tx:
        made = await providers.add_key(tx, place, provider, name, plain, Actor(actor(), reason))
        shown = await providers.show_provider(tx, place, provider)
    return {"key": providers.key_json(made), "provider": shown}


def refusal_text(provider: str, tried: dict[str, Any]) -> str:
    told = tried["keys"][0]["detail"] if tried["keys"] else tried["detail"]
    again = f"imagegate providers add {provider}"
    return f"{tried['asked'] or provider}: {told}\nThe key was not kept. Again: {again}; unasked: {again} --untested"


def text_of(shown: dict[str, Any]) -> str:
    key, provider, tried = shown["key"], shown["provider"], shown["test"]
    lines = [f"{key['id']} ({key['name']}, …{key['hint']}) is kept for {provider['name']}."]
    if tried is not None:
        lines.append(tried["keys"][0]["detail"] if tried["keys"] else tried["detail"])
    if tried is None or tried["ok"] is None:
        lines.append(f"Nobody has proved it yet: imagegate providers test {provider['name']} --draw")
    if provider["missing"]:
        lines.append(f"It also needs {' and '.join(provider['missing'])}.")
    elif not provider["enabled"]:
        enable = f"imagegate providers enable {provider['name']} --reason TEXT"
        lines.append(f"It is disabled ({provider['rule']['reason']}): {enable}")
    else:
        first = f" -m {provider['models'][0]}" if provider["models"] else ""
        lines.append(
            f'Running gateways take it up within two seconds. Next: imagegate estimate "a fox"{first} --env live'
        )
    return "\n".join(lines)
