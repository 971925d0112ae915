import asyncio
import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import escape
from html.parser import HTMLParser
from uuid import uuid4

import pytest
from httpx import AsyncClient

from imagegate.admin import accounts
from imagegate.admin.audit import EntryFilter, page_entries
from imagegate.admin.console.render import CSP
from imagegate.admin.console.routes import ROUTES
from imagegate.services import Services
from tests.admin.conftest import SHELL
from tests.admin.console.conftest import Seat
from tests.conftest import Account

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PAGES = (
    "/console/overview",
    "/console/requests",
    "/console/gallery",
    "/console/playground",
    "/console/usage",
    "/console/keys",
    "/console/prices",
    "/console/models/imagegate/sandbox",
    "/console/accounts",
    "/console/accounts/{account}",
    "/console/providers",
    "/console/providers/sandbox",
    "/console/welcome",
    "/console/requests/{generation}",
)
TABLES = [page for page in PAGES if page not in ("/console/playground", "/console/welcome")]
OURS = ("src", "href", "action", "hx-get", "hx-post", "data-src", "srcset", "poster", "formaction")


class Found(HTMLParser):
    """Every address that a page names, inline scripts and styles, and handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in OURS]
        if (tag == "script" and not said.get("src")) or tag == "style":
            self.inline.append(tag)
        self.inline += [name for name in said if name == "style" or name.startswith(("on", "hx-on"))]


def read(page: str) -> Found:
    found = Found()
    found.feed(page)
    return found


@pytest.fixture
async def drawn(test_client: AsyncClient) -> str:
    """The id of a generation whose prompt would be a script."""
    body = {"model": "sandbox", "prompt": EVIL, "size": "256x256", "user": "somebody"}
    answer = await test_client.post("/v1/images/generations", json=body, headers={"x-app-id": "<b>app</b>"})
    assert answer.status_code == 200, answer.text
    id_: str = answer.json()["metadata"]["id"]
    return id_


def filled(path: str, account: Account, drawn: str) -> str:
    return path.format(account=account.name, generation=drawn)


async def test_every_page_has_the_policy_and_names_nothing_from_elsewhere(
    writer: Seat, account: Account, drawn: str
) -> None:
    pages = {path: await writer.get(filled(path, account, drawn)) for path in ("/console", *PAGES)}

    for path, page in pages.items():
        assert page.status_code == 200, (path, page.text)
        assert page.headers["content-security-policy"] == CSP, path
        assert page.headers["referrer-policy"] == "same-origin", path
        assert page.headers["cache-control"] == "private, no-store", path
        found = read(page.text)
        assert found.inline == [], path
        assert len(found.addresses) > 10, path
        assert [a for a in found.addresses if not re.match(r"/(?!/)|#|\?", a)] == [], path


async def test_pages_for_those_who_are_not_signed_in_have_the_policy_too(browser: AsyncClient) -> None:
    shown = await browser.get("/console/sign-in")
    missing = await browser.get("/console/nothing/here")

    assert (shown.status_code, missing.status_code) == (200, 404)
    for page in (shown, missing):
        assert page.headers["content-security-policy"] == CSP
        assert read(page.text).inline == []


async def test_every_file_that_a_page_loads_is_there(reader: Seat) -> None:
    loaded = set()
    for path in ("/console", "/console/requests", "/console/playground", "/console/sign-in?token=a"):
        loaded |= {
            a for a in read((await reader.get(path)).text).addresses if a.startswith("/console/static/")
        }

    answers = [await reader.get(path) for path in sorted(loaded)]

    assert len(answers) >= 7
    assert {answer.status_code for answer in answers} == {200}
    texts = "".join(answer.text for answer in answers)
    assert re.findall(r"@import|url\(\s*[\"']?https?:", texts) == []
    assert (await reader.get("/console/static/../door.py")).status_code == 404


async def test_what_callers_said_is_text_and_never_code(
    reader: Seat, writer: Seat, account: Account, drawn: str, services: Services
) -> None:
    async with services.engine.begin() as tx:
        name = f"<script>alert(3)</script>{uuid4().hex[:8]}"
        await accounts.open_account(tx, services.settings, name, SHELL)

    pages = [await reader.get(f"/console/requests/{drawn}"), await reader.get("/console/gallery")]
    pages += [await reader.get("/console/requests", app="<b>app</b>", live="1")]
    named = await writer.get("/console/playground", again=drawn)

    for page in (*pages, named):
        assert page.status_code == 200
        assert EVIL not in page.text
        assert "<script>alert" not in page.text
        assert "<b>app" not in page.text
    assert "&lt;script&gt;alert(1)" in pages[0].text
    assert escape(name) in named.text
    assert "somebody" not in pages[0].text


def shows_ids(path: str) -> bool:
    """Keys are shown by their last characters, transfers by their number."""
    return path not in ("/console/keys", "/console/accounts/{account}")


async def test_json_and_csv_are_the_rows_of_the_page(reader: Seat, account: Account, drawn: str) -> None:
    for path in TABLES:
        where = filled(path, account, drawn)
        query = {"env": "test"} if where.startswith(("/console/accounts/", "/console/usage")) else {}

        page = (await reader.get(where, **query)).text
        told = (await reader.get(f"{where}.json", **query)).json()["data"]
        sheet = list(csv.DictReader(io.StringIO((await reader.get(f"{where}.csv", **query)).text)))

        assert told, path
        assert len(sheet) == len(told), path
        for row, line in zip(told, sheet, strict=True):
            texts = {name: row[name] or "" for name in line if isinstance(row.get(name), str | None)}
            assert {name: line[name].removeprefix("'") for name in texts} == texts, path
        known = [row.get("id") or row.get("name") for row in told[:20]]
        assert [id_ for id_ in known if id_ and id_[-8:] not in page and shows_ids(path)] == [], path
        assert [row["hint"] for row in told[:20] if "hint" in row and f"…{row['hint']}" not in page] == [], (
            path
        )


async def test_the_curl_of_a_table_gives_the_same_rows(
    reader: Seat, account: Account, drawn: str, admin: AsyncClient
) -> None:
    page = (await reader.get("/console/requests", account=account.name)).text
    curl = re.search(r"Bearer \$IMAGEGATE_OPERATOR_KEY&#34; (\S+)</pre>", page)
    assert curl
    url = curl[1].replace("&amp;", "&").replace("&#39;", "")

    told = (await admin.get(url)).json()["data"]
    shown = (await reader.get("/console/requests.json", account=account.name)).json()["data"]

    assert [row["id"] for row in told] == [row["id"] for row in shown] == [drawn]


async def test_who_may_only_read_sees_no_button_and_is_refused_by_every_form(
    reader: Seat, account: Account, drawn: str
) -> None:
    changing = [route for route in ROUTES if "POST" in (route.methods or ()) and "sign-" not in route.path]
    paths = {route.path for route in changing}
    values = {"account": account.name, "id": drawn, "key": "key_" + "0" * 32, "provider": "sandbox"}

    answers = {}
    for path in paths:
        where = path.replace("{model:path}", "imagegate/sandbox").format(**values)
        answers[path] = (
            await reader.post(where, name="x", tokens="1", env="test", account=account.name)
        ).status_code
    pages = [(await reader.get(filled(page, account, drawn))).text for page in PAGES]

    assert len(answers) >= 10
    assert set(answers.values()) == {403}
    forms = [form for page in pages for form in re.findall(r'<form method="post" action="([^"]+)"', page)]
    assert set(forms) == {"/console/sign-out"}


async def test_the_filters_of_requests_stand_in_the_address(
    reader: Seat, account: Account, drawn: str
) -> None:
    async def ids(**query: str) -> list[str]:
        answer = await reader.get("/console/requests.json", account=account.name, **query)
        return [row["id"] for row in answer.json()["data"]]

    assert await ids(status="completed", env="test", model="sandbox", range="1h") == [drawn]
    assert await ids(id=drawn[-12:]) == [drawn]
    assert await ids(status="failed") == []
    assert await ids(env="live") == []
    for wrong in ({"status": "odd"}, {"range": "9y"}, {"env": "odd"}, {"after": "odd"}, {"id": "zz"}):
        assert (await reader.get("/console/requests", **wrong)).status_code == 400


async def test_a_request_shows_its_price_its_attempts_and_its_transfers(reader: Seat, drawn: str) -> None:
    page = (await reader.get(f"/console/requests/{drawn}")).text

    assert "DELIVERED" in page
    assert "asked for: 1 × " in page
    assert re.search(r"<td>capture</td>\s*<td>wallet</td>\s*<td>revenue</td>", page)
    assert "/v1/images/generations" in page
    src = re.search(r'<img src="(/media/[^"]+)"', page)
    assert src
    assert (await reader.get(src[1])).headers["content-type"] == "image/png"


async def test_the_gallery_finds_pictures_by_their_prompts(
    reader: Seat, account: Account, test_client: AsyncClient
) -> None:
    word = uuid4().hex[:10]
    for prompt in (f"a 100% {word} lake", "another"):
        body = {"model": "sandbox", "prompt": prompt, "size": "256x256"}
        assert (await test_client.post("/v1/images/generations", json=body)).status_code == 200

    async def prompts(q: str) -> list[str]:
        answer = await reader.get("/console/gallery.json", account=account.name, q=q)
        return [row["prompt"] for row in answer.json()["data"]]

    assert await prompts(f"100% {word.upper()}") == [f"a 100% {word} lake"]
    assert await prompts("100_") == []
    assert len(await prompts("a")) == 2


async def test_pages_follow_one_another_without_gaps(reader: Seat, writer: Seat, account: Account) -> None:
    for _ in range(51):
        made = await writer.post("/console/playground/key", account=account.name, env="test")
        assert made.status_code == 200

    first = (await reader.get("/console/keys.json", account=account.name)).json()
    page = (await reader.get("/console/keys", account=account.name)).text
    older = re.search(r'href="([^"]+)">Older', page)
    assert older
    second = (await reader.get(older[1].replace("&amp;", "&").replace("/keys?", "/keys.json?"))).json()

    assert (len(first["data"]), len(second["data"]), second["has_more"]) == (50, 3, False)
    assert not {key["id"] for key in first["data"]} & {key["id"] for key in second["data"]}


async def test_a_key_is_shown_once_and_can_be_revoked(
    writer: Seat, account: Account, base_url: str, services: Services
) -> None:
    made = await writer.post("/console/keys", account=account.name, env="test", app="<i>shop</i>")
    plain_key = re.search(r"igk_test_[0-9A-Za-z]{49}", made.text)
    assert plain_key
    listed = (await writer.get("/console/keys.json", account=account.name)).json()["data"]
    key = next(row for row in listed if row["app"] == "<i>shop</i>")

    again = await writer.get("/console/keys", account=account.name)
    revoked = await writer.post(f"/console/keys/{key['id']}/revoke", reason="leaked")
    after = (await writer.get("/console/keys.json", account=account.name, status="revoked")).json()["data"]

    assert plain_key[0] not in again.text
    assert revoked.status_code == 303
    assert [row["id"] for row in after] == [key["id"]]
    async with services.engine.connect() as connection:
        entries = await page_entries(connection, EntryFilter(account=account.name), None, 10)
    assert [(e.action, e.actor, e.reason) for e in entries] == [
        ("keys.revoke", "console:tests", "leaked"),
        ("keys.create", "console:tests", "by console"),
    ]


async def test_the_playground_s_key_draws_and_ends_within_the_hour(
    writer: Seat, account: Account, base_url: str
) -> None:
    made = (await writer.post("/console/playground/key", account=account.name, env="test")).json()

    async with AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {made['key']}"}) as http:
        body = {"model": "sandbox", "prompt": "a river", "size": "256x256"}
        answer = await http.post("/v1/images/generations", json=body)

    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert answer.status_code == 200
    assert timedelta(0) < left <= timedelta(minutes=30)
    told = (await writer.get("/console/requests.json", account=account.name)).json()["data"]
    assert [(row["app"], row["status"]) for row in told] == [("console", "completed")]


async def test_a_top_up_applies_once_and_the_sums_hold(writer: Seat, account: Account) -> None:
    fields = {"env": "live", "tokens": "1,500,000", "external_ref": "invoice 7", "reason": "paid"}

    answers = [await writer.post(f"/console/accounts/{account.name}/top-up", **fields) for _ in range(2)]
    page = (await writer.get(f"/console/accounts/{account.name}", env="live")).text
    wrong = await writer.post(f"/console/accounts/{account.name}/top-up", env="live", tokens="1.5")

    assert [answer.status_code for answer in answers] == [303, 303]
    assert (await account.balance())[0] == 2_500_000
    assert "sum = 0 ✓" in page
    assert wrong.status_code == 400


async def test_a_price_is_looked_at_and_then_set(writer: Seat, drawn: str, services: Services) -> None:
    path, model = "/console/models/ideogram/ideogram-v3", "ideogram/ideogram-v3"
    known = services.catalogue.find("ideogram/ideogram-v3").model
    before = (await writer.get(f"{path}.json")).json()["data"][0]["version"]

    seen = await writer.post(path, tokens="61000", size=str(known.default_size), do="preview", env="test")
    still = (await writer.get(f"{path}.json")).json()["data"][0]["version"]
    later = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    done = await writer.post(path, tokens="61000", do="set", valid_from=later, reason="a test")
    after = (await writer.get(f"{path}.json")).json()["data"][0]

    assert known.id == model
    assert (seen.status_code, "61,000 tokens" in seen.text, still) == (200, True, before)
    assert done.status_code == 303
    assert (after["version"], after["coming"], after["reason"]) == (before + 1, True, "a test")
    assert (await writer.post(path, tokens="0", do="set")).status_code == 400
    assert (await writer.post(path, tokens="5", valid_from="2020-01-01T00:00", do="set")).status_code == 400


async def test_a_provider_is_disabled_and_enabled(writer: Seat) -> None:
    path = "/console/providers/recraft"

    await writer.post(f"{path}/disable", reason="too slow")
    off = (await writer.get(f"{path}.json")).json()["data"][0]
    await writer.post(f"{path}/enable")
    on = (await writer.get(f"{path}.json")).json()["data"][0]

    assert (off["enabled"], off["rule"]["reason"], on["enabled"]) == (False, "too slow", True)


async def test_a_provider_s_key_is_never_shown_again(writer: Seat) -> None:
    path, secret = "/console/providers/recraft", f"sk-{uuid4().hex}"

    added = await writer.post(f"{path}/keys", name="<i>main</i>", key=secret)
    page = (await writer.get(path)).text
    key = next(
        k for k in (await writer.get(f"{path}.json")).json()["data"][0]["keys"] if k["hint"] == secret[-4:]
    )
    await writer.post(f"{path}/keys/revoke", key=key["id"])
    after = (await writer.get(f"{path}.json")).json()["data"][0]["keys"]

    assert added.status_code == 303
    assert secret not in page
    assert "&lt;i&gt;main" in page
    assert next(k for k in after if k["id"] == key["id"])["state"] == "revoked"


async def test_what_is_deleted_is_gone_and_what_was_billed_stays(writer: Seat, drawn: str) -> None:
    page = (await writer.get(f"/console/requests/{drawn}")).text
    src = re.search(r'<img src="(/media/[^"]+)"', page)
    assert src

    purged = await writer.post(f"/console/requests/{drawn}/purge", reason="asked to")
    after = (await writer.get(f"/console/requests/{drawn}")).text

    assert purged.status_code == 303
    assert (await writer.get(src[1])).status_code == 410
    assert "Purged" in after
    assert "alert(1)" not in after
    assert "DELIVERED" in after


async def test_an_account_is_opened_and_found(writer: Seat) -> None:
    name = f"opened & {uuid4().hex[:8]}"

    opened = await writer.post("/console/accounts", name=name)
    page = await writer.get(opened.headers["location"])
    again = await writer.post("/console/accounts", name=name)

    assert (opened.status_code, again.status_code) == (303, 409)
    assert name.replace("&", "&amp;") in page.text


async def test_cells_that_a_spreadsheet_would_reckon_are_text(writer: Seat) -> None:
    name = f"=1+{uuid4().int}"
    await writer.post("/console/accounts", name=name)

    sheet = (await writer.get("/console/accounts.csv")).text

    assert f"'{name}" in sheet


async def test_more_may_look_at_once_than_there_are_connections(reader: Seat, drawn: str) -> None:
    looking = [reader.get("/console", range=range_) for range_ in ("1h", "24h", "30d", "90d") * 6]

    answers = await asyncio.gather(*looking)

    assert {answer.status_code for answer in answers} == {200}
