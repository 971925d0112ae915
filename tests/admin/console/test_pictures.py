"""Pictures on the console's pages: small, large, handed on to the playground, deleted; and asked for again."""

import html
import json
import re
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from imagegate.admin.console import pictures
from imagegate.media.objects import thumbnail_of
from imagegate.pool import Unworkable
from imagegate.services import Services
from tests.admin.console.conftest import Seat
from tests.conftest import Account
from tests.media.pictures import encoded, opened

MAKE, EDIT = "/v1/images/generations", "/v1/images/edits"
BODY = {"model": "sandbox", "prompt": "a quiet harbour", "size": "640x640"}


async def make(http: AsyncClient, path: str = MAKE, **more: Any) -> str:
    answer = await http.post(path, json={**BODY, **more})
    assert answer.status_code == 200, answer.text
    id_: str = answer.json()["metadata"]["id"]
    return id_


@pytest.fixture
async def drawn(test_client: AsyncClient) -> str:
    return await make(test_client)


async def objects(services: Services, id_: str) -> list[str]:
    async with services.engine.connect() as connection:
        query = text("SELECT object FROM images WHERE generation_id = :id ORDER BY idx")
        return list((await connection.execute(query, {"id": id_.removeprefix("gen_")})).scalars())


def data_of(page: str, name: str) -> Any:
    found = re.search(rf"data-{name}='([^']*)'", page)
    assert found, page[:800]
    return json.loads(html.unescape(found[1]))


async def test_a_small_picture_is_made_once_and_kept_by_browsers(
    reader: Seat, drawn: str, services: Services
) -> None:
    (name,) = await objects(services, drawn)

    first = await reader.get(f"/console/pictures/{drawn}/0.webp")
    await services.store.delete(name)
    second = await reader.get(f"/console/pictures/{drawn}/0.webp")

    assert (first.status_code, first.headers["content-type"]) == (200, "image/webp")
    assert first.headers["cache-control"] == "private, max-age=86400, immutable"
    assert opened(first.content).size == (320, 320)
    assert second.content == first.content


async def test_small_pictures_are_for_those_who_are_signed_in(
    browser: AsyncClient, account: Account, drawn: str
) -> None:
    path = f"/console/pictures/{drawn}/0.webp"

    nobody = await browser.get(path)
    customer = await browser.get(path, headers={"authorization": f"Bearer {account.test_key}"})

    assert (nobody.status_code, nobody.headers["location"]) == (303, "/console/sign-in")
    assert customer.status_code == 404


async def test_there_is_no_small_picture_of_what_is_not_there(reader: Seat, drawn: str) -> None:
    paths = [
        f"{drawn}/1.webp",
        f"{drawn}/99999999.webp",
        f"gen_{'0' * 32}/0.webp",
        "x/0.webp",
        f"{drawn}/-1.webp",
    ]

    answers = [await reader.get(f"/console/pictures/{path}") for path in paths]

    assert {answer.status_code for answer in answers} == {404}


async def test_a_damaged_picture_is_neither_made_small_nor_given_out(
    reader: Seat, drawn: str, services: Services
) -> None:
    (name,) = await objects(services, drawn)
    await services.store.put(name, b"damaged")

    answer = await reader.get(f"/console/pictures/{drawn}/0.webp")

    assert answer.status_code == 404
    assert not await services.store.exists(thumbnail_of(name))


async def test_a_picture_that_cannot_be_made_small_is_shown_as_it_is(
    reader: Seat, drawn: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = await objects(services, drawn)

    async def too_much(*_: Any) -> bytes:
        raise Unworkable("took too long")

    monkeypatch.setattr(pictures, "thumbnail", too_much)
    answer = await reader.get(f"/console/pictures/{drawn}/0.webp")
    large = await reader.get(answer.headers["location"])

    assert answer.status_code == 302
    assert (large.status_code, large.content) == (200, await services.store.get(name))


async def test_a_deleted_picture_takes_its_small_copy_with_it(
    writer: Seat, drawn: str, services: Services, account: Account
) -> None:
    (name,) = await objects(services, drawn)
    assert (await writer.get(f"/console/pictures/{drawn}/0.webp")).status_code == 200
    assert await services.store.exists(thumbnail_of(name))

    page = (await writer.get(f"/console/gallery/{drawn}")).text
    deleted = await writer.post(f"/console/requests/{drawn}/purge", back="gallery", reason="asked to")
    listed = (await writer.get("/console/gallery", account=account.name)).text
    large = (await writer.get(f"/console/gallery/{drawn}")).text

    assert "Delete for good" in page
    assert (deleted.status_code, deleted.headers["location"]) == (303, "/console/gallery")
    assert not await services.store.exists(thumbnail_of(name))
    assert (await writer.get(f"/console/pictures/{drawn}/0.webp")).status_code == 404
    assert "no longer kept" in listed
    assert "no longer kept" in large
    assert "quiet harbour" not in listed + large
    assert (await writer.get("/console/playground", input=f"{drawn}_0")).status_code == 404


async def test_the_large_view_tells_prompt_cost_and_attempts_and_keeps_the_search(
    reader: Seat, test_client: AsyncClient, account: Account
) -> None:
    older, other = await make(test_client), await make(test_client, prompt="a mountain")
    newer = await make(test_client, n=2)

    found = (await reader.get("/console/gallery", account=account.name, q="harbour")).text
    to = re.search(rf'href="(/console/gallery/{newer}[^"]*)"', found)
    assert to
    page = (await reader.get(html.unescape(to[1]))).text

    assert other not in found
    assert f'src="/console/pictures/{newer}/0.webp"' in found
    assert "2 images" in found
    assert "a quiet harbour" in page
    assert "DELIVERED" in page
    assert "tokens</span>" in page
    assert page.count("<figure>") == 2
    older_one = re.search(r'href="([^"]+)" data-key="ArrowRight"', page)
    assert older_one
    assert older_one[1].startswith(f"/console/gallery/{older}?")
    assert "q=harbour" in older_one[1]


async def test_a_picture_is_handed_to_the_playground(
    writer: Seat, drawn: str, account: Account, client: AsyncClient
) -> None:
    page = (await writer.get("/console/playground", input=f"{drawn}_0")).text
    (picture,) = data_of(page, "pictures")
    selected = re.search(
        r'<option value="([^"]+)" selected>[^<]*</option>\s*(?:<option|</select></label>\s*<label>Prompt)',
        page,
    )

    assert picture["id"] == f"{drawn}_0"
    assert (picture["account"], picture["env"]) == (account.name, "test")
    assert data_of(page, "chosen") == {"account": account.name, "env": "test"}
    assert selected
    assert (await writer.get(picture["url"])).headers["content-type"] == "image/png"
    models = {one["id"]: one["operations"] for one in (await client.get("/v1/models")).json()["data"]}
    chosen = re.search(r'id="model".*?<option value="([^"]+)" selected>', page, re.DOTALL)
    assert chosen
    assert "edit" in models[chosen[1]]
    for wrong in (f"{drawn}_1", f"gen_{'0' * 32}_0", "x"):
        assert (await writer.get("/console/playground", input=wrong)).status_code == 404


async def test_same_again_brings_the_pictures_of_an_edit_along(
    writer: Seat, drawn: str, test_client: AsyncClient
) -> None:
    edited = await make(test_client, EDIT, prompt="a boat", images=[{"image_id": f"{drawn}_0"}], seed=7)

    page = (await writer.get("/console/playground", again=edited)).text

    assert [one["id"] for one in data_of(page, "pictures")] == [f"{drawn}_0"]
    assert {"prompt": "a boat", "seed": 7, "model": "imagegate/sandbox"}.items() <= data_of(
        page, "chosen"
    ).items()


async def test_the_command_that_repeats_a_request_repeats_it(
    reader: Seat, drawn: str, test_client: AsyncClient
) -> None:
    edited = await make(test_client, EDIT, prompt="it's a boat", images=[{"image_id": f"{drawn}_0"}])

    for id_, path in ((drawn, MAKE), (edited, EDIT)):
        page = html.unescape((await reader.get(f"/console/requests/{id_}")).text)
        said = re.search(r"curl http://\S+?(/v1/\S+) .*?-d '(.*?)'</pre>", page, re.DOTALL)
        assert said, page
        again = await test_client.post(said[1], json=json.loads(said[2].replace("'\"'\"'", "'")))

        assert said[1] == path
        assert again.status_code == 200, again.text


async def test_a_request_with_a_file_cannot_be_repeated_by_a_command(
    reader: Seat, test_client: AsyncClient
) -> None:
    form = {"model": "sandbox", "prompt": "a boat", "size": "256x256"}
    answer = await test_client.post(EDIT, data=form, files={"image": encoded("png")})

    page = (await reader.get(f"/console/requests/{answer.json()['metadata']['id']}")).text

    assert answer.status_code == 200
    assert "its pictures are not kept here" in page
    assert 'id="again"' not in page


async def test_the_waterfall_tells_what_came_before_and_after_the_attempts(reader: Seat, drawn: str) -> None:
    page = (await reader.get(f"/console/requests/{drawn}")).text

    rows = re.findall(
        r"<tr>\s*<td[^>]*>(.*?)</td>", page.partition('class="waterfall"')[2].partition("</table>")[0]
    )
    assert [re.sub(r"<[^>]+>", "", row) for row in rows] == [
        "the whole request",
        "reserved: checked, priced, held",
        "sandbox imagegate/sandbox",
        "delivered: stored, settled",
    ]


async def test_filters_that_links_set_stay_until_they_are_taken_away(
    reader: Seat, drawn: str, account: Account
) -> None:
    (row,) = (await reader.get("/console/requests.json", account=account.name)).json()["data"]

    page = (await reader.get("/console/requests", key=row["key"], range="1h")).text
    delivered = (await reader.get("/console/requests.json", key=row["key"], **{"class": "DELIVERED"})).json()
    rejected = (await reader.get("/console/requests.json", key=row["key"], **{"class": "REJECTED"})).json()

    assert f'<input type="hidden" name="key" value="{row["key"]}">' in page
    assert '<a class="button" href="/console/requests?range=1h" aria-label="Without key">' in page
    assert (len(delivered["data"]), len(rejected["data"])) == (1, 0)
