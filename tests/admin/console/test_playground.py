"""The playground in a real browser: previews, inputs, and code that does the same."""

import asyncio
import base64
import json
import subprocess
from pathlib import Path

import pytest

from tests.admin.console.browsing import Open, chromium, entered, see, until
from tests.conftest import Account
from tests.media.pictures import encoded

__all__ = ["chromium", "entered"]


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
    await until(page, "window.reading")
    await page.locator("#fields [name=size]").select_option("512x512")
    await until(page, "form => !form.isConnected", form)

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
