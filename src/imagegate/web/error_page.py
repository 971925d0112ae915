"""`/docs/errors`: the catalogue of errors, one anchor a code. Where the `Link` header of an error leads."""

import re
from collections.abc import Iterator
from functools import cache
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from imagegate.errors.catalogue import PAGE, Entry, load_errors

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;"
    "color-scheme:light dark}h3{margin-bottom:0}p{margin:.25rem 0}:target{outline:2px solid;outline-offset:6px}"
)
NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'"
RETRY = {
    "never": "Sending the same again does not help.",
    "always": "Sending the same again can help.",
    "depends": "Whether sending the same again helps stands in x-should-retry.",
}


async def page(_: Request) -> Response:
    return HTMLResponse(written(), headers={"content-security-policy": NOTHING_ELSE})


@cache
def written() -> str:
    return "\n".join(lines()) + "\n"


def lines() -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Errors of imagegate</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><h1>Errors</h1>"
    yield "<p>By the code that an error carries. Nothing is charged for an error, unless its message says that"
    yield " images exist.</p>"
    for part, entries in load_errors().items():
        yield f"<h2>{escape(part)}</h2>"
        yield from map(section, entries)
    yield "</body></html>"


def section(entry: Entry) -> str:
    told = f"{entry.status} · {escape(entry.type)} · {RETRY[entry.retry]}"
    means, do = code_in(entry.means), code_in(entry.do)
    head = f'<section id="{entry.code}"><h3>{entry.code}</h3><p><small>{told}</small></p>'
    return f"{head}<p>{means}</p><p>→ {do}</p></section>"


def code_in(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


ROUTES = (Route(PAGE, page, methods=["GET"], include_in_schema=False),)
