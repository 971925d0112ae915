"""`imagegate image`: draw from the shell, down the same line as everybody else."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import (
    AccountName,
    CountOption,
    Env,
    EnvOption,
    Json,
    ModelOption,
    QualityOption,
    SizeOption,
    a_prompt,
    actor,
    read_size,
)
from imagegate.errors import OperatorError

if TYPE_CHECKING:
    from imagegate.domain import Generation, GenerationRequest, Principal
    from imagegate.services import Services

Format = Literal["png", "jpeg", "webp"]

DEMO = "demo"
APP = "cli"
FORMATS: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
LONGEST_NAME = 60


def a_target(path: Path | None) -> Path | None:
    if path is not None and path.suffix and path.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{path.suffix} is no format here: end the name with .png, .jpg or .webp.")
    if path is not None and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"the folder {path.absolute().parent} does not exist.")
    return path


Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", callback=a_target, help="Where to write it.")
]

FormatOption = Annotated[Format | None, typer.Option("--format", help="How to encode it.")]


def image(
    prompt: Annotated[str, typer.Argument(callback=a_prompt, help="What to draw.")],
    model: ModelOption = None,
    size: SizeOption = None,
    n: CountOption = 1,
    quality: QualityOption = None,
    account: AccountName = DEMO,
    env: EnvOption = "test",
    output: Output = None,
    format_: FormatOption = None,
    json: Json = False,
) -> None:
    """Draw, and write the images to files. Costs what it costs over HTTP; --env test draws with the sandbox."""
    from imagegate.domain import GenerationRequest

    wanted = GenerationRequest(
        prompt=prompt,
        model=model,
        n=n,
        size=read_size(size),
        quality=quality,
        output_format=format_ or format_of(output),
    )

    async def work(desk: Desk) -> None:
        await make(desk, wanted, "cli", (account, env), output, "Drawing")

    run(work, json=json)


def format_of(output: Path | None) -> Format | None:
    """What the name of the file says."""
    return FORMATS.get(output.suffix.lower()) if output else None


async def make(
    desk: Desk,
    wanted: "GenerationRequest",
    route: str,
    owner: tuple[str, Env],
    output: Path | None,
    doing: str,
) -> None:
    """Down the line, into files, and told. owner: who pays. route: by which repetitions are recognised.

    output: None: a name of the prompt's first words.
    """
    from imagegate.domain import Asked
    from imagegate.generation import pipeline
    from imagegate.generation.listening import Patient

    async with desk.services(desk.quiet_settings()) as services:
        principal = await principal_for(services, *owner)
        with desk.progress(f"{doing} with {wanted.model or services.settings.default_model}"):
            made = await pipeline.generate(services, principal, wanted, Asked(route), Patient())
        files = await write_images(services, made, output or named_after(wanted.prompt))
        shown = described(made, files, *owner, await available(services, principal))
    desk.answer(shown, text_of(shown))


async def principal_for(services: "Services", account: str, env: Env) -> "Principal":
    """The account's key for this command, made on first use; nobody ever sees it, the journal only wants one."""
    from imagegate.admin import keys
    from imagegate.domain import Principal
    from imagegate.identity.audit import Actor
    from imagegate.identity.keys import Labels, get_account

    if account == DEMO:
        await ensure_account(services, DEMO)
    async with services.engine.begin() as tx:
        account_id = await get_account(tx, account)
        key = await find_own_key(tx, account, env)
        if key is None:
            pepper, by = services.keyring.key_pepper, Actor(actor(), "the key of `imagegate image`")
            key = await keys.create_key(tx, pepper, account, env, Labels(app=APP), None, by)
    return Principal(account_id, env, key.id, app=APP)


async def ensure_account(services: "Services", name: str) -> None:
    """Open the account unless it is there, or somebody else opens it meanwhile."""
    from imagegate.admin import accounts
    from imagegate.errors import InvalidRequest
    from imagegate.identity.audit import Actor

    async with services.engine.connect() as connection:
        if await accounts.find_account(connection, name):
            return
    try:
        async with services.engine.begin() as tx:
            await accounts.open_account(tx, services.settings, name, Actor(actor(), "by command line"))
    except InvalidRequest:
        async with services.engine.connect() as connection:
            if not await accounts.find_account(connection, name):
                raise


async def find_own_key(connection: Any, account: str, env: Env) -> Any:
    from datetime import UTC, datetime

    from imagegate.admin import keys

    now = datetime.now(UTC)
    found = (
        key
        for key in await keys.list_keys(connection, account)
        if key.env == env and key.labels.app == APP and key.expires_at is None and key.status(now) == "active"
    )
    return next(found, None)


async def available(services: "Services", principal: "Principal") -> int:
    from imagegate.ledger.wallets import get_wallet

    async with services.engine.connect() as connection:
        return (await get_wallet(connection, principal.account_id, principal.env)).available_tokens


def named_after(prompt: str) -> Path:
    """A file of the first words, here, that is not there yet."""
    words = "-".join(re.findall(r"[a-z0-9]+", prompt.lower()))[:LONGEST_NAME].strip("-") or "image"
    stem, number = words, 1
    while any(Path().glob(f"{stem}.*")) or any(Path().glob(f"{stem}-[0-9]*.*")):
        number += 1
        stem = f"{words}_{number}"
    return Path(stem)


async def write_images(services: "Services", generation: "Generation", target: Path) -> list[dict[str, Any]]:
    """One file an image: `out.png`, or `out-1.png` and so on."""
    files = []
    for number, made in enumerate(generation.images, start=1):
        path = path_for(target, made.mime, number if len(generation.images) > 1 else None)
        data = await services.store.get(made.object)
        write(path, data, generation)
        files.append({"path": str(path), "size": str(made.size), "bytes": len(data), "mime": made.mime})
    return files


def path_for(target: Path, mime: str, number: int | None) -> Path:
    """The extension is that of the real format, whatever `target` says."""
    said = target.suffix if target.suffix.lower() in FORMATS else ""
    stem = target.name.removesuffix(said) + (f"-{number}" if number else "")
    made: str = mime.partition("/")[2]
    usual = next((suffix for suffix, name in FORMATS.items() if name == made), f".{made}")
    return target.with_name(stem + (said if FORMATS.get(said.lower()) == made else usual))


def write(path: Path, data: bytes, generation: "Generation") -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be written: {error.strerror}. The image is kept as {generation.public_id}."
        ) from None


def described(
    generation: "Generation", files: list[dict[str, Any]], account: str, env: Env, available_tokens: int
) -> dict[str, Any]:
    served = next((attempt for attempt in generation.attempts if attempt.outcome == "DELIVERED"), None)
    return {
        "id": generation.public_id,
        "model": generation.model,
        "provider": served.provider if served else None,
        "files": files,
        "charged_tokens": generation.charged_tokens,
        "account": account,
        "env": env,
        "balance_tokens": available_tokens,
        "parameters": {r.name: {"treatment": r.treatment, "detail": r.detail} for r in generation.receipts},
    }


def text_of(shown: dict[str, Any]) -> str:
    lines = [
        f"{file['path']}  {file['size']} {file['mime']}, {file['bytes']:,} bytes" for file in shown["files"]
    ]
    said = [
        f"{name} was {r['treatment']}: {r['detail']}"
        for name, r in shown["parameters"].items()
        if r["detail"]
    ]
    paid = f"{shown['model']} by {shown['provider']}: {shown['charged_tokens']:,} tokens charged, "
    return "\n".join(
        [*lines, *said, f"{paid}{shown['balance_tokens']:,} left ({shown['account']}, {shown['env']})."]
    )
