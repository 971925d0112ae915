"""`imagegate completion`: Tab completes verbs and options, in the shells that typer knows."""

from typing import Annotated, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json
from imagegate.errors import OperatorError

PROGRAM = "imagegate"
VARIABLE = "_IMAGEGATE_COMPLETE"
Shell = Literal["bash", "zsh", "fish", "powershell", "pwsh"]
ShellOption = Annotated[
    Shell | None, typer.Option("--shell", help="Of this shell; without it, of the one that runs here.")
]

app = typer.Typer(
    name="completion",
    help="Completion of verbs and options by Tab: install or show it.",
    no_args_is_help=True,
)


@app.command()
def install(shell: ShellOption = None, json: Json = False) -> None:
    """Install the completion for your user. It is there in the next terminal."""

    async def work(desk: Desk) -> None:
        from typer._completion_shared import install as add

        try:
            name, path = add(shell or running_shell(), PROGRAM, VARIABLE)
        except OSError as error:
            text = f"It cannot be installed: {error.strerror}. Print it: imagegate completion show"
            raise OperatorError(text) from None
        desk.answer(
            {"shell": name, "path": str(path)}, f"Completion for {name} is in {path}. Open a new terminal."
        )

    run(work, json=json)


@app.command()
def show(shell: ShellOption = None, json: Json = False) -> None:
    """Print the completion, for those who place it themselves."""

    async def work(desk: Desk) -> None:
        from typer._completion_shared import get_completion_script

        name = shell or running_shell()
        script = get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=name)
        desk.answer({"shell": name, "script": script}, script)

    run(work, json=json)


def running_shell() -> str:
    """Raises OperatorError for a shell that is unknown here."""
    from typer._completion_shared import _get_shell_name

    name = _get_shell_name() or ""
    if name not in ("bash", "zsh", "fish", "powershell", "pwsh"):
        said = f"{name} is not supported" if name else "It is not known which shell this is"
        raise OperatorError(f"{said}. Name one: imagegate completion show --shell bash")
    return name
