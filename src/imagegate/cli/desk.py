"""A verb at work: it opens what it needs, answers on stdout and says everything else on stderr."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from imagegate.errors import ImagegateError, OperatorError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from rich.console import Console

    from imagegate.registry import Registry
    from imagegate.services import Services
    from imagegate.settings import Settings

T = TypeVar("T")

WIDE = 200
"""Columns of a table that goes into a file or a pipe, where nothing must be cut."""

NEXT = {
    "model_not_found": "List the models: imagegate models",
    "model_not_priced": "Set a price: imagegate prices set MODEL --tokens N --reason TEXT",
    "no_provider_configured": "See what is configured: imagegate doctor",
    "insufficient_quota": "Top up: imagegate wallets top-up --account NAME --tokens N --reason TEXT [--env test]",
    "billing_unavailable": "Look: imagegate doctor",
    "budget_exceeded": "See the budgets: imagegate limits show --account NAME",
    "storage_unavailable": "Look: imagegate config check",
    "all_providers_failed": "See why: imagegate logs tail --status failed, then: imagegate doctor ID",
    "upstream_timeout": "See why: imagegate logs tail --status failed, then: imagegate doctor ID",
    "rejected_by_provider": "See what the model takes: imagegate models parameters MODEL",
}


class Desk:
    """`json`: stdout carries one JSON value and nothing else."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    @cached_property
    def aside(self) -> "Console":
        from rich.console import Console

        return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """To stderr, above a spinner if there is one."""
        self.aside.print(line)

    def answer(self, value: object, text: str) -> None:
        """The verb's result: as JSON, or as the text."""
        if self.json:
            from pydantic_core import to_json

            text = to_json(value, indent=2).decode()
        print(text, flush=True)

    def answer_table(
        self, value: object, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str
    ) -> None:
        """The verb's result: as JSON, or as a table. `empty`: what is said when there are no rows."""
        if self.json or not rows:
            self.answer(value, empty)
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")  # an id that is cut cannot be copied
        for row in rows:
            table.add_row(*row)
        wide = None if sys.stdout.isatty() else WIDE
        Console(markup=False, highlight=False, width=wide).print(table)

    def refuse(self, error: ImagegateError) -> None:
        hint = NEXT.get(error.code)
        message = f"{error.message}\n{hint}" if hint else error.message
        if self.json:
            self.answer({"error": {"code": error.code, "message": message}}, "")
        else:
            self.say(message)

    @contextmanager
    def progress(self, text: str) -> Iterator[None]:
        """A spinner on a terminal; elsewhere one line, once it has taken a second."""
        if self.aside.is_terminal:
            with self.aside.status(text):
                yield
            return
        import asyncio

        timer = asyncio.get_running_loop().call_later(1.0, self.say, f"{text} …")
        try:
            yield
        finally:
            timer.cancel()

    def settings(self, **overrides: Any) -> "Settings":
        from imagegate.settings import load_settings

        return load_settings(**{name: value for name, value in overrides.items() if value is not None})

    def quiet_settings(self) -> "Settings":
        """For a verb that does one thing: what it says is enough, unless a level of the log was asked for."""
        settings = self.settings()
        asked = "log_level" in settings.model_fields_set
        return settings if asked else settings.model_copy(update={"log_level": "WARNING"})

    @asynccontextmanager
    async def registry(self) -> AsyncIterator["Registry"]:
        """The database's records, opened."""
        from imagegate.registry import open_registry

        async with opened(self, open_registry(self.settings(), self.say)) as registry:
            yield registry

    @asynccontextmanager
    async def services(self, settings: "Settings") -> AsyncIterator["Services"]:
        from imagegate.cli.logs import log_to_stderr
        from imagegate.services import open_services

        lines = log_to_stderr(settings.log_level)
        try:
            async with opened(self, open_services(settings, self.say)) as services:
                services.status.lines = lines
                yield services
        finally:
            lines.flush()


@asynccontextmanager
async def opened(desk: Desk, opening: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter `opening` under a progress line, which is gone before the work begins."""
    async with AsyncExitStack() as stack:
        with desk.progress("Opening the database"):
            entered = await stack.enter_async_context(opening)
        yield entered


def run(
    work: Callable[[Desk], Coroutine[Any, Any, None]],
    *,
    json: bool,
    loop_factory: "Callable[[], AbstractEventLoop] | None" = None,
) -> None:
    """Do a verb's work. What an operator can mend ends as plain lines and exit code 1, not as a traceback."""
    import asyncio

    desk = Desk(json=json)
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(work(desk))
    except typer.Exit:
        raise
    except ImagegateError as error:
        desk.refuse(error)
        raise typer.Exit(1) from None
    except Exception as error:
        if not broke_off(error):
            raise
        desk.refuse(OperatorError(f"The database broke off ({type(error).__name__}). Look: imagegate doctor"))
        raise typer.Exit(1) from None


def broke_off(error: Exception) -> bool:
    from sqlalchemy.exc import DBAPIError

    from imagegate.db.base import is_gone

    return isinstance(error, DBAPIError) and is_gone(error)
