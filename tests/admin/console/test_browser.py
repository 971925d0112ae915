"""The console in a real browser: what its scripts do, under its policy."""

import asyncio
import json
import subprocess

from httpx import AsyncClient

from tests.admin.console.browsing import Open, chromium, entered
from tests.conftest import Account
from tests.fake_provider import FakeProvider

__all__ = ["chromium", "entered"]


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
