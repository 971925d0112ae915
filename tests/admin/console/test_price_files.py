import csv
import io
import re
from html import unescape

import pytest
from httpx import AsyncClient, Response

from imagegate.services import Services
from tests.admin.console.conftest import Seat
from tests.conftest import Account

HERE = "/console/prices/import"
HEADER = "model,item,size,quality,tokens\n"


async def upload(seat: Seat, content: str, **fields: str) -> Response:
    files = {"file": ("prices.csv", content.encode(), "text/csv")}
    return await seat.http.post(HERE, data={"csrf": seat.csrf, **fields}, files=files)


def token_in(page: str) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found, page[:2000]
    return found[1]


async def tokens_of(seat: Seat, model: str) -> list[int | None]:
    answer = await seat.get(f"/console/models/{model}/matrix.json")
    return sorted({row["tokens"] for row in answer.json()["data"]})


def model_of(services: Services) -> str:
    """One that no other test of this file draws."""
    return next(id_ for id_ in services.catalogue.models if id_.startswith("recraft/"))


async def test_prices_taken_out_and_put_in_again_change_nothing(
    writer: Seat, reader: Seat, admin: AsyncClient
) -> None:
    sheet = (await reader.get("/console/prices/export.csv")).text
    api = (await admin.get("/prices/export")).json()["content"]

    looked = await upload(writer, sheet, do="look")

    assert list(csv.reader(io.StringIO(sheet))) == list(csv.reader(io.StringIO(api)))
    assert looked.status_code == 200
    assert "Nothing to change" in looked.text


async def test_an_operators_file_is_never_shed(
    writer: Seat, services: Services, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.load, "looked", lambda *_: None)
    monkeypatch.setattr(services.load, "shedding", True)

    form = await client.post("/v1/images/edits", files={"image": b"no picture"}, data={"prompt": "a hat"})
    looked = await upload(writer, (await writer.get("/console/prices/export.csv")).text, do="look")

    assert form.status_code == 503
    assert looked.status_code == 200


async def test_what_was_looked_at_is_published_whole(writer: Seat, services: Services) -> None:
    model = model_of(services)
    before = await tokens_of(writer, model)
    content = f"{HEADER}{model},image,,,61234\n"

    looked = await upload(writer, content, do="look", env="test")
    still = await tokens_of(writer, model)
    token = token_in(looked.text)
    other = await upload(writer, content.replace("61234", "1"), do="publish", token=token)
    none = await upload(writer, content, do="publish", token="")
    done = await upload(writer, content, do="publish", token=token, reason="by file")
    again = await upload(writer, content, do="publish", token=token)
    newest = (await writer.get(f"/console/models/{model}.json")).json()["data"][0]

    assert "61,234" in looked.text
    assert "None of these models was drawn" in looked.text
    assert still == before
    assert (other.status_code, none.status_code) == (409, 409)
    assert (done.status_code, await tokens_of(writer, model)) == (303, [61234])
    assert (newest["reason"], newest["source"], newest["actor"]) == (
        "by file",
        "file prices.csv",
        "console:tests",
    )
    assert again.status_code == 409


async def test_faults_name_their_lines_and_columns_and_the_file_is_kept(
    writer: Seat, services: Services
) -> None:
    model = model_of(services)
    before = await tokens_of(writer, model)
    rows = [f"{model},image,,,five", "nobody/knows,image,,,5", f"{model},image,1x,,5", f"{model},odd,,,5"]

    pasted = await writer.post(HERE, text=HEADER + "\n".join(rows), do="publish", token="x")
    page = unescape(pasted.text)

    assert pasted.status_code == 200
    assert "line 2: column tokens: tokens must be a whole number, not 'five'" in page
    assert "line 3: column model:" in page
    assert "line 4: column size:" in page
    assert "line 5: column item: 'odd' is no item" in page
    assert rows[0] in page
    assert await tokens_of(writer, model) == before
    assert (await upload(writer, "", do="look")).status_code == 400


async def test_a_price_of_nothing_has_to_be_allowed(writer: Seat, services: Services) -> None:
    model = model_of(services)
    content = f"{HEADER}{model},image,,,0\n"

    looked = await upload(writer, content, do="look", valid_from="2040-01-01T00:00")
    fields = {"do": "publish", "token": token_in(looked.text), "valid_from": "2040-01-01T00:00"}
    refused = await upload(writer, content, **fields)
    sooner = await upload(writer, content, **fields | {"valid_from": "2039-01-01T00:00"}, allow_zero="1")
    allowed = await upload(writer, content, **fields, allow_zero="1")
    newest = (await writer.get(f"/console/models/{model}.json")).json()["data"][0]

    assert "let images cost nothing" in looked.text
    assert (refused.status_code, sooner.status_code, allowed.status_code) == (400, 409, 303)
    assert (newest["coming"], newest["valid_from"]) == (True, "2040-01-01T00:00:00Z")


async def test_a_file_s_effect_is_reckoned_from_what_was_drawn(
    writer: Seat, account: Account, test_client: AsyncClient
) -> None:
    body = {"model": "sandbox", "prompt": "a river", "size": "256x256"}
    assert (await test_client.post("/v1/images/generations", json=body)).status_code == 200

    looked = await upload(writer, f"{HEADER}imagegate/sandbox,image,,,77777\n", do="look", env="test")
    cells = re.findall(r"<td>imagegate/sandbox</td>(.*?)</tr>", looked.text, re.DOTALL)

    assert cells
    images, charged, would = (
        int(n.replace(",", "")) for n in re.findall(r'<td class="n">([\d,]+)', cells[0])[:3]
    )
    assert images >= 1
    assert would == images * 77_777 != charged


async def test_the_admin_api_publishes_what_its_token_stands_for(
    admin: AsyncClient, services: Services
) -> None:
    content = f"{HEADER}{model_of(services)},image,,,4321\n"
    fields = {"content": content, "reason": "a test", "valid_from": "2041-01-01T00:00:00Z"}

    looked = (await admin.post("/prices/import", json=fields)).json()
    wrong = await admin.post("/prices/import", json=fields | {"publish": True, "token": "0" * 40})
    done = await admin.post("/prices/import", json=fields | {"publish": True, "token": looked["token"]})

    assert (wrong.status_code, wrong.json()["code"]) == (409, "price_conflict")
    assert len(done.json()["published"]) == 1


async def test_each_size_and_quality_has_its_price_cost_and_margin(reader: Seat, services: Services) -> None:
    model = services.catalogue.find("openai/gpt-image-1-mini").model

    cells = (await reader.get(f"/console/models/{model.id}/matrix.json")).json()["data"]
    page = (await reader.get(f"/console/models/{model.id}")).text

    assert {(cell["size"], cell["quality"]) for cell in cells} == {
        (str(size), quality) for size in {*model.sizes, model.default_size} for quality in model.qualities
    }
    known = [cell for cell in cells if cell["margin_percent"] is not None]
    assert known
    for cell in known:
        price, cost = float(cell["price_usd"]), float(cell["cost_usd"])
        assert abs(cell["margin_percent"] - (price - cost) / price * 100) < 0.1
    assert "price, cost at the dearest provider, margin" in page
