"""`imagegate edit`: new pictures from given ones, from the shell, down the same line as everybody else."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.image import DEMO, FormatOption, Output, format_of, make
from imagegate.cli.options import (
    AccountName,
    CountOption,
    EnvOption,
    Json,
    ModelOption,
    QualityOption,
    SizeOption,
    a_prompt,
    read_size,
)

if TYPE_CHECKING:
    from imagegate.domain import InputImage

ADDRESSES = ("http://", "https://")
Images = Annotated[
    list[str], typer.Argument(metavar="IMAGE…", help="Files, public URLs, or ids of images: gen_…_0.")
]
Mask = Annotated[
    str | None, typer.Option("--mask", metavar="FILE", help="Transparent where the first is to be redrawn.")
]


def edit(
    images: Images,
    prompt: Annotated[str, typer.Argument(callback=a_prompt, help="What to make of them.")],
    mask: Mask = None,
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
    """Make pictures from pictures, and write them to files. Costs what it costs over HTTP.

    For example: imagegate edit cat.png hat.png "the cat wears the hat" -o result.png
    """
    from imagegate.domain import GenerationRequest

    given = tuple(a_picture(text, "IMAGE") for text in images)
    wanted = GenerationRequest(
        prompt=prompt,
        model=model,
        n=n,
        size=read_size(size),
        quality=quality,
        output_format=format_ or format_of(output),
        images=given,
        mask=a_picture(mask, "--mask") if mask is not None else None,
    )

    async def work(desk: Desk) -> None:
        await make(desk, wanted, "cli edit", (account, env), output, "Editing")

    run(work, json=json)


def a_picture(text: str, param: str) -> "InputImage":
    """The file's bytes, a URL that is fetched on the way, or an image made before. Raises BadParameter."""
    from imagegate.domain import InputImage
    from imagegate.ids import parse_image_id
    from imagegate.media.images import MAX_BYTES

    if text.startswith(ADDRESSES):
        return InputImage(url=text)
    path = Path(text)
    if not path.exists() and parse_image_id(text) is not None:
        return InputImage(kept=text)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise typer.BadParameter(f"{text} is larger than {MAX_BYTES // 2**20} MB.", param_hint=param)
        return InputImage(data=path.read_bytes())
    except OSError as error:
        said = f"{text} cannot be read: {error.strerror}. Name files, then the prompt in quotes."
        raise typer.BadParameter(said, param_hint=param) from None
