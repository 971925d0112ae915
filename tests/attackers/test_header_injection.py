"""Values that would break out of a header, an address or a form; and hosts that nobody vouches for."""

import pytest

from tests.attackers.conftest import Served
from tests.attackers.test_smuggling import HOST, exchange, sized, statuses

EVIL = (
    "%0d%0aX-Injected: 1",
    "%0aX-Injected:1",
    "%E5%98%8D%E5%98%8AX-Injected: 1",
    "\x85X-Injected: 1",
    '"><script>',
)
REFLECTED = (
    "X-Request-Id",
    "Idempotency-Key",
    "traceparent",
    "tracestate",
    "X-App-Id",
    "X-Session-Id",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-For",
    "X-Forwarded-Prefix",
    "X-Original-Url",
    "X-Rewrite-Url",
    "X-Http-Method-Override",
    "Forwarded",
    "Origin",
    "Referer",
    "Accept",
    "Prefer",
    "X-Stainless-Retry-Count",
    "Range",
    "If-None-Match",
    "Cookie",
)


async def test_no_header_of_a_request_breaks_out_of_one_of_the_answer(served: Served) -> None:
    async with served.client(served.account.test_key) as client:
        for name in REFLECTED:
            for value in EVIL:
                body = {"prompt": "a", "model": "sandbox", "size": "256x256"}
                sent = {name: value.encode("latin-1")}
                answer = await client.post("/v1/images/generations?dryRun=true", json=body, headers=sent)
                assert answer.status_code in (200, 400), (name, value, answer.text)
                told = str(answer.headers).lower()
                assert "injected" not in told, (name, value)
                assert "script" not in told, (name, value)


@pytest.mark.parametrize("evil", EVIL)
async def test_no_part_of_an_address_breaks_out_of_a_header_of_the_answer(served: Served, evil: str) -> None:
    places = (
        "/v1/models/{}",
        "/v1/images/generations/{}",
        "/media/{}",
        "/console/{}",
        "/{}",
        "/docs/{}",
        "/v1/models?schema={}",
    )

    async with served.client() as client:
        for place in places:
            answer = await client.get(place.format(evil).replace("\x85", "%85"), follow_redirects=False)
            assert answer.status_code in (303, 400, 403, 404), place
            assert "injected" not in str(answer.headers).lower(), place


async def test_names_in_a_form_break_out_of_nothing(served: Served) -> None:
    names = (
        'image"; filename="x',
        "image\r\nX-Injected: 1",
        "image%0d%0aX-Injected",
        "__proto__",
        "ima\0ge",
        "a" * 5000,
    )

    async with served.client() as client:
        for name in names:
            said = f'form-data; name="{name}"; filename="a\r\nX-Injected: 1"'
            part = f"--b\r\nContent-Disposition: {said}\r\n\r\nx\r\n--b--\r\n"
            headers = {"content-type": "multipart/form-data; boundary=b"}
            answer = await client.post("/v1/images/edits", content=part.encode(), headers=headers)
            assert answer.status_code == 400, name
            assert "injected" not in (str(answer.headers) + answer.text).lower(), name


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example/path",
        b"evil.example@127.0.0.1",
        b"evil.example?x",
        b"evil.example#x",
        b'evil.example"><script>',
        b"evil.example\\x",
        b"evil.example:99999999",
        b"[::1",
        b"",
        b"a b",
    ],
)
async def test_a_host_that_is_none_stands_in_no_link(served: Served, host: bytes) -> None:
    body = b'{"prompt":"a","model":"sandbox","size":"256x256","response_format":"url"}'
    key = b"X-Api-Key: " + served.account.test_key.encode() + b"\r\nConnection: close\r\n"
    ask = sized(body, key).replace(HOST, b"Host: " + host + b"\r\n", 1)

    answer = await exchange(served.port, ask, patience_s=10)

    assert b"evil.example" not in answer
    assert statuses(answer) in ([200], [400])
    if statuses(answer) == [200]:
        assert f"http://127.0.0.1:{served.port}/media/".encode() in answer


async def test_whom_nobody_trusts_does_not_say_where_the_gateway_is(served: Served) -> None:
    body = {"prompt": "a", "model": "sandbox", "size": "256x256", "response_format": "url"}
    said = {
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "x-forwarded-prefix": "/evil",
        "x-forwarded-for": "10.0.0.1",
        "forwarded": "host=evil.example;proto=https",
        "x-original-url": "/admin/v1/accounts",
    }

    async with served.client(served.account.test_key) as client:
        answer = await client.post("/v1/images/generations", json=body, headers=said)

    assert answer.status_code == 200, answer.text
    assert "evil" not in answer.text
    assert answer.json()["data"][0]["url"].startswith(served.url)
