"""Bodies that two parsers could read differently, on every route that reads JSON: a clear 400, nothing held."""

from typing import Any

import pytest
from httpx import AsyncClient, Response

from imagegate.identity.operators import SCOPES
from imagegate.services import Services
from imagegate.web.guards import DEEPEST
from tests.admin.conftest import Issue, issue
from tests.attackers.routes import Operation, operations
from tests.conftest import LIVE_TOKENS, Account

__all__ = ["issue"]

JSON = "application/json"
PATH = "/v1/images/generations"
GOOD = b'{"prompt": "a", "model": "sandbox", "size": "256x256"}'


def within(value: bytes) -> bytes:
    """A body that would be good, were it not for this value."""
    return GOOD[:-1] + b', "x": ' + value + b"}"


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \t\r\n",
    "a text": b'"prompt"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "a list": b"[%s]" % GOOD,
    "two values": GOOD + GOOD,
    "two lines": GOOD + b"\n" + GOOD,
    "a bracket too many": GOOD + b"}",
    "a bracket too few": GOOD[:-1],
    "a NUL at the end": GOOD + b"\0",
    "a NUL in front": b"\0" + GOOD,
    "a semicolon": GOOD + b";",
    "a comment": GOOD + b"// done",
    "a comment within": within(b"/* */ 1"),
    "a comma too many": GOOD[:-1] + b",}",
    "single quotes": GOOD.replace(b'"', b"'"),
    "keys without quotes": b'{prompt: "a"}',
    "a form": b"prompt=a&model=sandbox",
    "NaN": within(b"NaN"),
    "Infinity": within(b"Infinity"),
    "-Infinity": within(b"-Infinity"),
    "NaN deep down": within(b'[{"y": [NaN]}]'),
    "beyond a double": within(b"1e309"),
    "beyond it below": within(b"-1e400"),
    "an endless exponent": within(b"1e" + b"9" * 400),
    "an endless number": within(b"9" * 5000),
    "a leading zero": within(b"01"),
    "a plus": within(b"+1"),
    "a naked dot": within(b"1."),
    "hexadecimal": within(b"0x10"),
    "an underscore": within(b"1_0"),
    "a vertical tab": within(b"\x0b1"),
    "a no-break space": within("\u00a01".encode()),
    "a raw line break": within(b'"a\nb"'),
    "a raw tab": within(b'"a\tb"'),
    "a wrong escape": within(b'"\\x41"'),
    "half an escape": within(b'"\\u12"'),
    "lists too deep": within(b"[" * DEEPEST + b"]" * DEEPEST),
    "objects too deep": within(b'{"y":' * DEEPEST + b"1" + b"}" * DEEPEST),
    "a hundred thousand deep": within(b"[" * 100_000),
    "an object key that is a number": b'{1: "a"}',
    "no colon": b'{"prompt" "a"}',
}
TWICE: dict[str, bytes] = {
    "a field": GOOD[:-1] + b', "prompt": "b"}',
    "a field, escaped": GOOD[:-1] + b', "\\u0070rompt": "b"}',
    "a field with the same value": GOOD[:-1] + b', "prompt": "a"}',
    "an empty name": within(b'{"": 1, "": 2}'),
    "deep down": within(b'[[{"y": {"z": 1, "z": 1}}]]'),
    "an unknown one": within(b"1, " + b'"x": 2'),
}
UNICODE: dict[str, bytes] = {
    "a high surrogate": within(b'"\\ud800"'),
    "a low surrogate": within(b'"\\uDFFF"'),
    "a pair the wrong way round": within(b'"\\udc00\\ud800"'),
    "half a pair at the end": within(b'"\\ud83d\\ude00\\ud83d"'),
    "in a name": within(b'{"\\udead": 1}'),
    "in a list": within(b'[[["\\udead"]]]'),
    "a NUL": within(b'"\\u0000"'),
    "a NUL in a name": within(b'{"\\u0000": 1}'),
}
ENCODING: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16 with its mark": GOOD.decode().encode("utf-16"),
    "UTF-32 with its mark": GOOD.decode().encode("utf-32"),
    "Latin-1": within('"é"'.encode("latin-1")),
    "an overlong quote": within(b"\xc0\xa2"),
    "an overlong NUL": within(b'"\xc0\x80"'),
    "a raw surrogate": within(b'"\xed\xa0\x80"'),
    "beyond Unicode": within(b'"\xf4\x90\x80\x80"'),
    "half a character": within(b'"\xe2\x82"'),
}
CORPUS = {
    f"{code}: {name}": (body, code)
    for code, found in {
        "invalid_json": BROKEN,
        "duplicate_key": TWICE,
        "invalid_unicode": UNICODE,
        "invalid_encoding": ENCODING,
    }.items()
    for name, body in found.items()
}
REPRESENTATIVE = (
    "invalid_json: NaN deep down",
    "duplicate_key: a field, escaped",
    "invalid_unicode: in a name",
    "invalid_encoding: a byte order mark",
)
CHARSETS = ("utf-16", "UTF-16LE", "iso-8859-1", "utf-7", '"shift_jis"', "nonsense")


def reading_json() -> list[Operation]:
    return [operation for operation in operations() if JSON in operation.kinds]


def check(response: Response, operation: Operation, code: str, what: str) -> None:
    """A 400 in the shape that errors have on this route, which repeats nothing of the body."""
    assert response.status_code == 400, (operation.name, what, response.text)
    told: Any = response.json()
    assert "sandbox" not in response.text
    if operation.path == "/v1/images/generate":
        assert set(told) == {"error", "status"}, what
        assert told["status"] == 400
        return
    error = told if operation.is_admin else told["error"]
    assert error["code"] == code, (operation.name, what, error)
    if operation.is_admin:
        assert set(error) == {"type", "title", "status", "detail", "code", "param", "request_id"}
    else:
        assert set(error) - {"status"} == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
    assert response.headers["x-should-retry"] == "false"


def test_there_are_routes_that_read_json() -> None:
    assert len(reading_json()) > 45


async def test_every_body_of_the_corpus_is_refused_by_name(client: AsyncClient, account: Account) -> None:
    (operation,) = [o for o in reading_json() if o.path == PATH]

    for what, (body, code) in CORPUS.items():
        response = await client.post(PATH, content=body, headers={"content-type": JSON})
        check(response, operation, code, what)

    assert len(CORPUS) > 60
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_every_route_that_reads_json_reads_it_as_strictly(
    client: AsyncClient, account: Account, issue: Issue, base_url: str
) -> None:
    admin = await issue(*SCOPES)

    for operation in reading_json():
        key = {"authorization": admin.headers["authorization"]} if operation.is_admin else {}
        for what in REPRESENTATIVE:
            body, code = CORPUS[what]
            url = f"{base_url}{operation.at()}"
            response = await client.post(url, content=body, headers={"content-type": JSON, **key})
            check(response, operation, code, what)

    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("charset", CHARSETS)
async def test_a_body_that_says_it_is_not_utf_8_is_refused(
    client: AsyncClient, account: Account, charset: str
) -> None:
    headers = {"content-type": f"{JSON}; charset={charset}"}
    (operation,) = [o for o in reading_json() if o.path == PATH]

    for body in (GOOD, b"{}", GOOD.decode().encode("utf-16-le")):
        response = await client.post(PATH, content=body, headers=headers)
        check(response, operation, "invalid_encoding", charset)

    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    "kind", [JSON, f"{JSON};charset=utf-8", f"{JSON}; charset=UTF-8", f'{JSON}; Charset="utf8"', f"{JSON};"]
)
async def test_a_body_that_says_it_is_utf_8_is_read(test_client: AsyncClient, kind: str) -> None:
    response = await test_client.post(f"{PATH}?dryRun=true", content=GOOD, headers={"content-type": kind})

    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "value",
    [
        b"[" * (DEEPEST - 2) + b"]" * (DEEPEST - 2),
        '"\U0001f600"'.encode(),
        b'"\\ud83d\\ude00"',
        b'"\\\\ud800"',
        '"\ufeff"'.encode(),
        '"\uffff"'.encode(),
        b"-0.0",
        b"1e308",
        b"9" * 400,
        b'{"prompt": {"prompt": 1}}',
    ],
)
async def test_what_is_unusual_but_means_one_thing_is_read(test_client: AsyncClient, value: bytes) -> None:
    response = await test_client.post(PATH, content=within(value), headers={"content-type": JSON})

    assert response.status_code == 200, response.text


async def test_what_the_guard_costs_grows_with_the_body_and_no_faster(services: Services) -> None:
    """Many keys, many escapes, long texts: nothing of it is looked at twice for every other."""
    from time import process_time

    from imagegate.web.guards import parse_object

    def cost_s(pieces: int) -> float:
        body = "{" + ",".join(f'"k{i}": ["\\u00e9", {{"a": {i}}}]' for i in range(pieces)) + "}"
        return min(timed(body) for _ in range(3))

    def timed(body: str) -> float:
        began = process_time()
        parse_object(body)
        return process_time() - began

    assert cost_s(8_000) < 8 * 4 * cost_s(1_000) + 0.01
