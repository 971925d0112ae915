"""`imagegate estimate`: what a request would cost, without a server, a hold or a provider."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.edit import a_picture
from imagegate.cli.options import (
    CountOption,
    EnvOption,
    Json,
    ModelOption,
    QualityOption,
    RoutingPolicy,
    SizeOption,
    a_prompt,
    read_size,
)

if TYPE_CHECKING:
    from imagegate.cli.options import Env
    from imagegate.domain import GenerationRequest, Principal
    from imagegate.services import Services

Previews = Annotated[
    int, typer.Option("--previews", min=0, max=3, help="Previews of each image, as of a stream.")
]
Images = Annotated[
    list[str] | None, typer.Option("--image", metavar="FILE", help="A picture of an edit; may be repeated.")
]
Wallet = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Tell too whether its wallet suffices.")
]


def estimate(
    prompt: Annotated[str, typer.Argument(callback=a_prompt, help="What would be drawn.")],
    model: ModelOption = None,
    size: SizeOption = None,
    n: CountOption = 1,
    quality: QualityOption = None,
    previews: Previews = 0,
    images: Images = None,
    routing: Annotated[RoutingPolicy | None, typer.Option("--routing", help="Whom to ask first.")] = None,
    account: Wallet = None,
    env: EnvOption = "test",
    json: Json = False,
) -> None:
    """Show what a request would cost at most, and who would be asked. Nothing is held, nobody is asked."""
    from imagegate.domain import GenerationRequest

    wanted = GenerationRequest(
        prompt=prompt,
        model=model,
        n=n,
        size=read_size(size),
        quality=quality,
        partial_images=previews,
        stream=previews > 0,
        routing=routing,
        images=tuple(a_picture(text, "--image") for text in images or ()),
    )

    async def work(desk: Desk) -> None:
        async with desk.services(desk.quiet_settings()) as services:
            principal = await somebody(services, account, env)
            shown = planned(services, principal, wanted)
            if account is not None:
                shown |= await wallet_of(services, principal, account)
        desk.answer(shown, text_of(shown))

    run(work, json=json)


async def somebody(services: "Services", account: str | None, env: "Env") -> "Principal":
    """Who would ask, without a key: an estimate changes nothing. Raises NotFound."""
    from imagegate.domain import Principal
    from imagegate.identity.accounts import read_account
    from imagegate.ids import new_id

    if account is None:
        return Principal(new_id(), env, new_id())
    async with services.engine.connect() as connection:
        owner = await read_account(connection, account)
    return Principal(owner.id, env, new_id(), moderation=owner.moderation, keep_images_h=owner.keep_images_h)


def planned(services: "Services", principal: "Principal", wanted: "GenerationRequest") -> dict[str, Any]:
    """The answer of `?dryRun=true`. Raises what planning raises."""
    from imagegate.generation import choosing, pipeline
    from imagegate.web.estimate import estimate_json

    plan = pipeline.estimate(services, principal, wanted)
    policy = choosing.policy_of(services, principal, wanted)
    return estimate_json(plan, choosing.in_order(services, plan, policy), services.settings)


async def wallet_of(services: "Services", principal: "Principal", account: str) -> dict[str, Any]:
    from imagegate.ledger.wallets import get_wallet

    async with services.engine.connect() as connection:
        wallet = await get_wallet(connection, principal.account_id, principal.env)
    return {"account": account, "env": principal.env, "available_tokens": wallet.available_tokens}


def text_of(shown: dict[str, Any]) -> str:
    quality = f", quality {shown['quality']}" if shown["quality"] else ""
    lines = [f"{shown['model']} {shown['size']}{quality}, asked in order: {', '.join(shown['providers'])}"]
    for part in shown["components"]:
        what = part["metric"].replace("_", " ")
        each = f"{part['quantity']} × {part['unit_price']:.6f}"
        lines.append(
            f"  {part['type']:<6}  {what:<16}  {each} = {part['total_cost']:.6f} {shown['currency']}"
        )
    bound = "at most, the price goes by usage" if shown["maximum"] else "exactly, if all are made"
    version = f"price version {shown['price_version']}"
    lines.append(f"{shown['hold_tokens']:,} tokens would be held ({version}); charged: {bound}")
    for name, receipt in shown["parameters"].items():
        if receipt["treatment"] in ("ignored", "emulated", "converted"):
            detail = f": {receipt['detail']}" if receipt.get("detail") else ""
            lines.append(f"{name} would be {receipt['treatment']}{detail}")
    if "account" in shown:
        enough = "which suffices" if shown["available_tokens"] >= shown["hold_tokens"] else "TOO LITTLE"
        whose = f"{shown['account']} ({shown['env']})"
        lines.append(f"{whose} has {shown['available_tokens']:,} tokens available, {enough}")
    return "\n".join(lines)
