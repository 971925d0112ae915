"""The pages of the reference on settings and errors, as Markdown."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.cli.config import PARTS, default_text, depends, fields
from imagegate.errors.catalogue import Entry, load_errors
from imagegate.settings import PREFIX

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

SETTINGS = """# Settings

Written by `imagegate reference settings`; a test compares it with the code. Every setting is an environment variable,
or a line of the file `.env` in the working directory; the environment goes before the file, and an empty variable
counts as absent. Units end the names: `_S` seconds, `_H` hours, `_BYTES` bytes. A wrong value refuses the start and is
named.

`imagegate config show` tells what is in force and where it comes from, `imagegate config example` writes a `.env` with
every line of this page.
"""
PROVIDERS = """
## Providers

Three variables for each, under its name. What a provider needs, and several keys: [providers](../providers/README.md).

| variable | what |
|---|---|"""
ERRORS = """# Errors

Written by `imagegate reference errors`; a test compares it with the code. Every error has a code; every answer with one
has a header `Link: </docs/errors#CODE>; rel="help"`, and the gateway itself shows this list there.

Errors on the routes of OpenAI's shape are `{"error": {"message", "type", "param", "code"}}`, on `/admin/v1` they are
problem details (RFC 9457) with the same `code`. **Nothing is charged for an error**, unless its message says that
images exist. Whether sending the same again helps stands in `x-should-retry`; `Retry-After` says when. With
`IMAGEGATE_CDN_SAFE_STATUS=true` 502 and 504 are sent as 424.
"""
RETRY = {"never": "no", "always": "yes", "depends": "`x-should-retry` says it"}
SIGNS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


def settings() -> str:
    return (
        "\n".join(
            [SETTINGS, *(line for name, field in fields() for line in setting(name, field)), *providers()]
        )
        + "\n"
    )


def setting(name: str, field: "FieldInfo") -> Iterator[str]:
    """A heading, which is the anchor, and what is to be known."""
    default = default_text(field)
    yield f"## {PREFIX}{name.upper()}\n"
    yield f"{field.description}{depends(field)}"
    told = [f"Default: `{default}`." if default else "", bounds(field)]
    if any(told):
        yield f"\n{' '.join(filter(None, told))}"
    yield ""


def bounds(field: "FieldInfo") -> str:
    """`At least 1, at most 60.`; nothing where any value may stand."""
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    if words:
        return f"One of {', '.join(f'`{word}`' for word in words)}."
    said = [
        f"{means} {value}"
        for sign, means in SIGNS
        for held in field.metadata
        if (value := getattr(held, sign, None)) is not None
    ]
    text = ", ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def providers() -> Iterator[str]:
    yield PROVIDERS.lstrip("\n")
    for name, provider in load_catalogue().providers.items():
        if name != "sandbox":
            for part, says in PARTS:
                text: Any = says.format(name=name, default=provider.base_url or "none, it must be set.")
                yield f"| `{PREFIX}{name.upper()}_{part}` | {text[0].upper()}{text[1:]} |"


def errors() -> str:
    lines = [ERRORS]
    for part, entries in load_errors().items():
        lines += [f"## {part}\n", *(line for entry in entries for line in error(entry))]
    return "\n".join(lines).rstrip("\n") + "\n"


def error(entry: Entry) -> Iterator[str]:
    yield f"### {entry.code}\n"
    yield f"{entry.status} · `{entry.type}` · again: {RETRY[entry.retry]}\n"
    yield f"{entry.means}\n\n→ {entry.do}\n"
