"""The console in a real browser: what its scripts do, under its policy."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from httpx import AsyncClient

from imagegate.services import Services
from tests.admin.console.conftest import link_of
from tests.conftest import Account
from tests.fake_provider import FakeProvider
from tests.media.pictures import encoded

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt install chromium")

LONGEST_MS = 15_000


Open = Callable[..., Awaitable[tuple["playwright.Page", list[str]]]]


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator["playwright.Browser"]:
    async with playwright.async_playwright() as started:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = await started.chromium.launch(executable_path=CHROMIUM, args=args)
        yield running
        await running.close()


def is_fault(message: "playwright.ConsoleMessage") -> bool:
    """An error; but for pictures on the overview that other tests have made in stores of their own."""
    elsewhere = "404" in message.text and "/console/pictures/" in message.location["url"]
    return message.type == "error" and not elsewhere


@pytest.fixture
async def entered(chromium: "playwright.Browser", base_url: str, services: Services) -> AsyncIterator[Open]:
    """Opens a page that is signed in; beside it stands whatever its console says of errors and of the policy."""
    async with AsyncExitStack() as stack:

        async def enter(*, width_px: int = 1280) -> tuple["playwright.Page", list[str]]:
            said: list[str] = []
            viewport = {"width": width_px, "height": 900}
            context = await chromium.new_context(base_url=base_url, viewport=viewport, locale="en-US")
            stack.push_async_callback(context.close)
            context.set_default_timeout(LONGEST_MS)
            page = await context.new_page()
            page.on("console", lambda message: said.append(message.text) if is_fault(message) else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            await page.goto(f"/console/sign-in?token={link_of(services)}")
            await page.wait_for_url("**/console")
            return page, said

        yield enter


async def test_an_operator_signs_in_makes_a_picture_and_a_key(entered: Open, account: Account) -> None:
    page, said = await entered()

    await page.get_by_role("link", name="Playground").click()
    await page.get_by_label("Account").select_option(account.name)
    await page.get_by_label("Environment").select_option("test")
    await page.locator("#fields [name=size]").wait_for()
    await page.locator("#fields [name=size]").select_option("512x512")
    await page.get_by_role("textbox", name="Prompt", exact=True).fill("a lighthouse </script> at sunset")
    await page.locator("#estimate", has_text="tokens").wait_for()
    estimate = await page.locator("#estimate").inner_text()
    await page.get_by_text("Compare with other models").click()
    await page.get_by_label("Second").select_option("openai/dall-e-3")
    await page.locator("#estimate", has_text="2 models").wait_for()
    await page.get_by_role("button", name="Draw").click()
    await page.locator(".drawn").nth(1).wait_for()
    drawn = await page.locator(".drawn").first.inner_text()
    seen = await page.locator("#result img").first.evaluate("image => image.naturalWidth")

    await page.get_by_role("link", name="Requests", exact=True).click()
    await page.get_by_label("Account").select_option(account.name)
    await page.wait_for_url(f"**account={account.name}*")
    rows = await page.locator("tbody tr").count()
    await page.goto(f"/console/gallery?account={account.name}")
    prompt = await page.locator(".gallery .prompt").first.inner_text()

    await page.goto("/console/keys")
    await page.get_by_text("Make a key").click()
    form = page.locator("form[action='/console/keys'][method=post]")
    await form.get_by_label("Account").select_option(account.name)
    await form.get_by_label("App").fill("shop")
    await form.get_by_role("button").click()
    key = await page.locator("#plain-key").inner_text()
    await page.goto(f"/console/keys?account={account.name}")
    row = page.locator("tbody tr", has_text=key[-4:])
    await row.get_by_text("revoke", exact=True).click()
    await row.get_by_role("button", name="Revoke for good").click()
    await page.goto(f"/console/keys?account={account.name}&status=revoked")
    revoked = await page.locator("tbody tr").inner_text()

    assert said == []
    assert "512x512" in estimate
    assert "512x512" in drawn
    assert seen == 512
    assert rows == 2
    assert prompt == "a lighthouse </script> at sunset"
    assert key.startswith("igk_live_")
    assert key[-4:] in revoked


async def see(page: "playwright.Page", selector: str) -> int:
    """The width of a picture, once it is there."""
    await page.wait_for_function("s => document.querySelector(s)?.naturalWidth > 0", arg=selector)
    width: int = await page.locator(selector).first.evaluate("image => image.naturalWidth")
    return width


async def test_a_picture_is_drawn_with_previews_seen_small_and_worked_from(
    entered: Open, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, said = await entered(width_px=400)
    await page.goto("/console/playground")
    await page.get_by_label("Account").select_option(account.name)
    await page.locator("#model").select_option("imagegate/sandbox")
    await page.get_by_label("Previews").select_option("2")
    await page.locator("#fields [name=size]").select_option("512x512")
    await page.get_by_role("textbox", name="Prompt", exact=True).fill("[[slow:0.6]] a harbour")
    await page.locator("#estimate", has_text="tokens").wait_for()
    await page.get_by_role("textbox", name="Prompt", exact=True).press("Control+Enter")
    preview = await see(page, "img.preview")
    await page.locator(".drawn").wait_for()
    drawn = await page.locator(".drawn").inner_text()

    await page.goto(f"/console/gallery?account={account.name}")
    small = await see(page, ".gallery img")
    await page.locator(".gallery a").click()
    large = await see(page, ".look img")
    await page.keyboard.press("Escape")
    await page.wait_for_url(f"**/gallery?account={account.name}")
    await page.locator(".gallery a").click()
    await page.get_by_role("link", name="Use as input").click()
    handed = await see(page, "#inputs img")
    owner = await page.get_by_label("Account").input_value()
    await page.get_by_role("textbox", name="Prompt", exact=True).fill("a boat's mast")
    await page.locator("#estimate", has_text="tokens").wait_for()
    await page.get_by_role("button", name="Draw").click()
    await page.locator(".drawn").wait_for()
    codes = {name: await page.locator(f"#as-{name}").text_content() for name in ("curl", "python")}
    monkeypatch.setenv("IMAGEGATE_KEY", account.test_key)
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(exec, codes["python"], {})
    await asyncio.to_thread(subprocess.run, ["sh", "-c", f"{codes['curl']} -sS -o reply.json"], check=True)
    reply = json.loads((tmp_path / "reply.json").read_text())
    wide = await page.evaluate("document.documentElement.scrollWidth")

    assert said == []
    assert (preview > 0, small, large, handed, wide) == (True, 320, 512, 320, 400)
    assert "previews after" in drawn
    assert owner == account.name
    assert (tmp_path / "0.png").read_bytes() == base64.b64decode(reply["data"][0]["b64_json"])


SLOW_JSON = """() => {
  const read = Response.prototype.json;
  Response.prototype.json = async function () {
    const told = await read.call(this);
    window.reading = true;
    await new Promise((resume) => setTimeout(resume, 300));
    window.reading = false;
    return told;
  };
}"""


async def test_what_is_filled_in_while_another_models_form_comes_is_kept(
    entered: Open, account: Account
) -> None:
    page, said = await entered()
    await page.goto("/console/playground")
    await page.get_by_label("Account").select_option(account.name)
    await page.locator("#fields [name=size]").wait_for()
    await page.wait_for_load_state("networkidle")
    await page.evaluate(SLOW_JSON)
    form = await page.locator("#fields label").first.element_handle()
    await page.locator("#model").select_option("imagegate/sandbox")
    await page.wait_for_function("window.reading")
    await page.locator("#fields [name=size]").select_option("512x512")
    await page.wait_for_function("form => !form.isConnected", arg=form)

    assert said == []
    assert await page.locator("#fields [name=size]").input_value() == "512x512"


async def test_a_second_picture_by_hand_is_another_input(entered: Open, account: Account) -> None:
    page, said = await entered()
    await page.goto("/console/playground")
    await page.get_by_label("Account").select_option(account.name)
    await page.locator("#model").select_option("imagegate/sandbox")
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": encoded("png")} for n in "ab"]
    await page.locator("#files").set_input_files(files)
    await page.locator("#inputs li").nth(1).wait_for()
    await page.get_by_role("button", name="Remove a.png").click()
    await page.get_by_role("textbox", name="Prompt", exact=True).fill("a boat [[fail:400]]")
    await page.locator("#estimate", has_text="tokens").wait_for()
    code = await page.locator("#as-node").text_content()
    await page.get_by_role("button", name="Draw").click()
    await page.locator(".slot .note.bad").wait_for()
    failed = await page.locator(".slot .note.bad").inner_text()

    assert said == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    assert 'toFile(readFileSync("b.png"), "b.png")' in (code or "")
    assert "a.png" not in (code or "")
    assert "imagegate/sandbox: " in failed


async def test_the_welcome_page_makes_a_key_and_tests_one(
    entered: Open, account: Account, fake: FakeProvider, base_url: str
) -> None:
    page, said = await entered(width_px=400)
    await page.goto("/console/welcome")
    await page.get_by_label("Account").select_option(account.name)
    await page.get_by_role("button", name="Make a key").click()
    key = await page.locator("#plain-key").inner_text()
    await page.get_by_text("curl", exact=True).click()
    curl = await page.locator("#sdk-curl").inner_text()
    hidden = await page.locator("#sdk-python").is_visible()
    fake.pages["/v1/models"] = (401, {}, b"{}")
    await page.get_by_label("Provider").select_option("openai")
    await page.get_by_label("Its key").fill("sk-of-somebody-else")
    await page.get_by_role("button", name="Test").click()
    told = await page.locator("#trial .note").inner_text()
    del fake.pages["/v1/models"]
    kept = await page.get_by_label("Its key").input_value()
    wide = await page.evaluate("document.documentElement.scrollWidth")
    called = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", f"{curl} -sS"], check=True, capture_output=True, text=True
    )

    assert said == []
    assert (key in curl, hidden, wide) == (True, False, 400)
    assert json.loads(called.stdout)["data"][0]["url"].startswith(base_url)
    assert "refuses the key (401)" in told
    assert kept == "sk-of-somebody-else"


async def test_a_price_is_changed(entered: Open) -> None:
    page, said = await entered()
    await page.goto("/console/prices?q=recraft")
    await page.locator("tbody a").first.click()
    await page.get_by_label("Tokens of one image").fill("77,000")
    await page.get_by_label("From (UTC)").fill("2040-01-01T00:00")  # other tests draw at today's price
    await page.get_by_role("button", name="Preview").click()
    await page.locator("#preview").wait_for()
    await page.get_by_role("button", name="Set the price").click()
    versions = page.locator("section", has=page.get_by_role("heading", name="Versions"))
    newest = versions.locator("tbody tr").first
    await newest.get_by_text("77,000").wait_for()
    coming = await newest.get_by_text("coming").count()

    assert said == []
    assert coming == 1


async def test_the_live_tail_shows_what_comes(
    entered: Open, account: Account, test_client: AsyncClient
) -> None:
    page, said = await entered(width_px=400)
    await page.goto(f"/console/requests?account={account.name}&live=1")
    assert await page.locator("tbody tr").count() == 0

    body = {"model": "sandbox", "prompt": "a river", "size": "256x256"}
    assert (await test_client.post("/v1/images/generations", json=body)).status_code == 200

    await page.locator("tbody tr").wait_for()
    wide = await page.evaluate("document.documentElement.scrollWidth")

    assert said == []
    assert wide == 400


async def test_the_charts_are_drawn_and_nothing_is_cut_at_400_pixels(
    entered: Open, account: Account, test_client: AsyncClient
) -> None:
    body = {"model": "sandbox", "prompt": "a river", "size": "256x256"}
    assert (await test_client.post("/v1/images/generations", json=body)).status_code == 200

    page, said = await entered(width_px=400)
    await page.goto("/console?env=test&range=24h")
    await page.locator(".chart canvas").first.wait_for()
    charts = await page.locator(".chart canvas").count()
    wide = {}
    for path in (
        "",
        "/playground",
        "/usage?env=test",
        "/keys",
        "/prices",
        f"/accounts/{account.name}",
        "/providers",
    ):
        await page.goto(f"/console{path}")
        wide[path] = await page.evaluate("document.documentElement.scrollWidth")
    hidden = await page.get_by_role("link", name="Gallery").is_visible()
    await page.locator(".menu > summary").press("Enter")
    shown = await page.get_by_role("link", name="Gallery").is_visible()

    assert said == []
    assert charts == 2
    assert set(wide.values()) == {400}
    assert (hidden, shown) == (False, True)
