"""`imagegate providers test`: whether our keys at a provider are good."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json, actor

if TYPE_CHECKING:
    from imagegate.identity.credentials import Access
    from imagegate.outbound import Outbound
    from imagegate.registry import Registry


def try_out(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `providers list` shows it.")],
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw its smallest cheapest picture: the provider bills us for it.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask with each of our keys what costs nothing; exit 1 if one is refused. With --draw one picture is paid for."""

    async def work(desk: Desk) -> None:
        from imagegate.admin.providers import get_provider
        from imagegate.outbound import open_outbound

        async with AsyncExitStack() as stack:
            registry = await stack.enter_async_context(desk.registry())
            outbound = await stack.enter_async_context(open_outbound())
            provider = get_provider(registry.catalogue, name)
            access = registry.credentials.found.get(name)
            if draw:
                result = await drawn(desk, registry, outbound, name, access)
                desk.answer(result, told_drawing(result))
            else:
                from imagegate.admin.provider_trial import try_keys

                with desk.progress(f"Asking {name}"):
                    result = await try_keys(outbound, provider, access)
                desk.answer(result, told(result))
        if result["ok"] is False:
            raise typer.Exit(1)

    run(work, json=json)


async def drawn(
    desk: Desk, registry: "Registry", outbound: "Outbound", name: str, access: "Access | None"
) -> dict[str, Any]:
    """One picture outside the ledger, recorded in the audit log. Raises OperatorError and InvalidRequest."""
    from imagegate.admin import provider_trial
    from imagegate.errors import OperatorError
    from imagegate.identity.audit import Actor
    from imagegate.pool import WorkPool
    from imagegate.services import adapters_for

    if access is None:
        raise OperatorError(f"{name} is not configured. See what it needs: imagegate providers show {name}")
    choice = provider_trial.cheapest(registry.catalogue, name)
    pool = WorkPool(threads=1)
    try:
        adapters = adapters_for(registry.catalogue, outbound, pool)
        desk.say(f"Drawing with {name}: {provider_trial.describe(choice)}")
        with desk.progress(f"{name} draws"):
            result = await provider_trial.draw(adapters, access, choice)
    finally:
        pool.close()
    async with registry.engine.begin() as tx:
        by = Actor(actor(), "providers test --draw")
        await provider_trial.record_drawing(tx, result, by)
    return result


def told(result: dict[str, Any]) -> str:
    if result["asked"] is None:
        offer = (
            ""
            if result["ok"] is False
            else f"\nDraw one: imagegate providers test {result['provider']} --draw"
        )
        return f"{result['provider']}: {result['detail']}{offer}"
    lines = [result["asked"]]
    for key in result["keys"]:
        end = f" …{key['hint']}" if key["hint"] else ""
        lines.append(f"{'ok  ' if key['ok'] else 'fail'}  {key['id']}{end}: {key['detail']} ({key['ms']} ms)")
    return "\n".join(lines)


def told_drawing(result: dict[str, Any]) -> str:
    cost = f"USD {result['cost_usd']}" if result["cost_usd"] is not None else "an unknown sum"
    what = f"{result['model']} {result['size']} {result['quality'] or ''}".rstrip()
    paid = f" It cost {cost}, which no wallet pays." if result["ok"] else ""
    return f"{'ok  ' if result['ok'] else 'fail'}  {what}: {result['detail']}{paid}"
