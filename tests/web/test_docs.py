"""`/docs`: whole without the internet, and what it says of the routes is true."""

import re
from html.parser import HTMLParser

import jsonschema
from httpx import AsyncClient

REFERRING = {"src", "href", "action", "data", "poster", "srcset"}
MAKING = {
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/images/generate",
    "/v1/images",
    "/v1/image/generations",
    "/v1/image/edits",
    "/v1/image/variations",
}
ELSEWHERE = re.compile(r"""(?:https?:)?//[\w.-]+\.\w+""")


class References(HTMLParser):
    """What a page refers to, and the scripts that stand in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = ""
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.found += [value for name, value in attrs if name in REFERRING and value]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        self.scripts += data if self._in_script else ""


async def test_the_page_and_everything_it_refers_to_come_from_this_gateway(client: AsyncClient) -> None:
    page = await client.get("/docs")
    referred = References(page.text)
    schema = re.search(r"url: '([^']+)'", referred.scripts)

    assert page.headers["content-type"].startswith("text/html")
    assert schema is not None
    names = [*referred.found, schema[1]]
    assert len(names) == 4
    for name in names:
        assert re.match(r"/[^/]", name), name
        part = await client.get(name)
        assert part.status_code == 200, name
        assert len(part.content) > 1_000, name


async def test_a_browser_is_told_to_load_nothing_from_elsewhere(client: AsyncClient) -> None:
    page = await client.get("/docs")
    style = await client.get(next(n for n in References(page.text).found if n.endswith(".css")))

    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert not ELSEWHERE.search(page.text)
    assert '"validatorUrl": null' in page.text
    loaded = re.findall(r"""url\(\s*['"]?([^'")]*)""", style.text)
    assert "@import" not in style.text
    assert {name.partition(":")[0] for name in loaded} == {"data"}


async def test_nothing_but_the_page_s_own_files_is_to_be_had(client: AsyncClient) -> None:
    for name in ("redoc.standalone.js", "..%2fcore.py", "nothing.js", "__init__.py"):
        assert (await client.get(f"/docs/{name}")).status_code == 404, name
    assert (await client.get("/redoc")).status_code == 404
    assert (await client.post("/docs")).status_code == 405


async def test_every_route_of_the_dialects_tells_who_may_ask_what_is_said_and_what_comes(
    client: AsyncClient,
) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    making = {path: found["post"] for path, found in paths.items() if path in MAKING}

    assert set(making) == MAKING
    for path, told in making.items():
        assert told["security"] == [{"bearer": []}], path
        said = told["requestBody"]["content"]["application/json"]
        jsonschema.Draft202012Validator.check_schema(said["schema"])
        jsonschema.validate(said["example"], said["schema"])
        assert told["responses"]["200"]["content"]["application/json"]["example"], path
        empty = "403" if path == "/v1/images/generate" else "402"
        assert {"400", "401", empty, "404", "429", "502", "503"} <= set(told["responses"]), path
        assert "422" not in told["responses"], "the gateway answers 400"


async def test_the_example_of_a_route_is_a_body_that_it_takes(test_client: AsyncClient) -> None:
    paths = (await test_client.get("/openapi.json")).json()["paths"]

    for path in sorted(MAKING):
        said = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        response = await test_client.post(f"{path}?dryRun=true", json=said)

        assert response.status_code == 200, (path, response.text)


async def test_an_error_looks_as_the_description_says(test_client: AsyncClient) -> None:
    paths = (await test_client.get("/openapi.json")).json()["paths"]

    for path in sorted(MAKING):
        told = paths[path]["post"]["responses"]["400"]["content"]["application/json"]["schema"]
        response = await test_client.post(path, json={})

        assert response.status_code == 400, path
        jsonschema.validate(response.json(), told)


async def test_every_operation_has_a_summary_and_a_name_of_its_own(client: AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    operations = [found for methods in paths.values() for found in methods.values()]

    assert all(found.get("summary") for found in operations)
    assert len({found["operationId"] for found in operations}) == len(operations)


async def test_every_name_in_a_path_is_a_parameter_and_every_route_tells_its_errors(
    client: AsyncClient,
) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]

    for path, methods in paths.items():
        for operation in methods.values():
            names = [said["name"] for said in operation["parameters"] if said["in"] == "path"]
            assert names == re.findall(r"{(\w+)}", path), path
            answers = operation["responses"]
            assert "default" in answers or "503" in answers, path
            assert "default" in answers or ("401" in answers) == ("security" in operation), path


async def test_answers_have_what_their_examples_show(client: AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    shown = {
        path: methods["get"]["responses"]["200"]["content"]["application/json"].get("example")
        for path, methods in paths.items()
        if "get" in methods and "{" not in path and not path.startswith("/admin")
    }

    told = {path: (await client.get(path)).json() for path, example in shown.items() if example}

    assert len(told) >= 5
    for path, answer in told.items():
        assert set(shown[path]) <= set(answer), path
