"""A page of a real browser that is signed in at the console, with what it says of errors; skipped where none is."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from imagegate.services import Services
from tests.admin.console.conftest import link_of

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LONGEST_S = 15.0

Open = Callable[..., Awaitable[tuple["Page", list[str]]]]


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator["Browser"]:
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt install chromium")
    async with playwright.async_playwright() as started:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = await started.chromium.launch(executable_path=CHROMIUM, args=args)
        yield running
        await running.close()


def is_fault(message: "ConsoleMessage") -> bool:
    """An error; but for pictures on the overview that other tests have made in stores of their own."""
    elsewhere = "404" in message.text and "/console/pictures/" in message.location["url"]
    return message.type == "error" and not elsewhere


@pytest.fixture
async def entered(chromium: "Browser", base_url: str, services: Services) -> AsyncIterator[Open]:
    """Opens a page that is signed in; beside it stands whatever its console says of errors and of the policy."""
    async with AsyncExitStack() as stack:

        async def enter(*, width_px: int = 1280) -> tuple["Page", list[str]]:
            said: list[str] = []
            viewport = {"width": width_px, "height": 900}
            context = await chromium.new_context(base_url=base_url, viewport=viewport, locale="en-US")
            stack.push_async_callback(context.close)
            context.set_default_timeout(LONGEST_S * 1000)
            page = await context.new_page()
            page.on("console", lambda message: said.append(message.text) if is_fault(message) else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            await page.goto(f"/console/sign-in?token={link_of(services)}")
            await page.wait_for_url("**/console")
            return page, said

        yield enter


async def until(page: "Page", script: str, arg: Any = None) -> None:
    """Asks until the script's answer is true.

    `page.wait_for_function` is not used: its later looks are `eval`, which the console's policy forbids.
    """
    async with asyncio.timeout(LONGEST_S):
        while not await page.evaluate(script, arg):
            await asyncio.sleep(0.02)


async def see(page: "Page", selector: str) -> int:
    """The width of a picture, once it is there."""
    await until(page, "s => document.querySelector(s)?.naturalWidth > 0", selector)
    width: int = await page.locator(selector).first.evaluate("image => image.naturalWidth")
    return width
