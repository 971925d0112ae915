"""The catalogue of errors holds what the source can raise: no code more, none less, with the status it has there."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from httpx import AsyncClient

from imagegate import app
from imagegate.errors import ImagegateError
from imagegate.errors.catalogue import Entry, load_errors

SOURCE = Path(app.__file__).parent
ENTRIES: dict[str, Entry] = {entry.code: entry for entries in load_errors().values() for entry in entries}
NO_ERRORS = {"Complaint", "replace", "info", "warning"}
"""Calls whose `code` is not that of an error of ours: what a provider said, and lines of the log."""


@dataclass(frozen=True)
class Said:
    """A code as it stands in the source. kind: the class that carries it; status: said beside it, else None."""

    code: str
    kind: str | None
    status: int | None
    place: str


def known(kind: type[ImagegateError] = ImagegateError) -> Iterator[type[ImagegateError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from known(below)


KINDS = {kind.__name__: kind for kind in known()}


def texts(value: ast.expr | None) -> Iterator[str]:
    """The literal texts that this may be."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from texts(value.body)
        yield from texts(value.orelse)


def number(value: ast.expr | None) -> int | None:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, int) else None


def name_of(target: ast.expr) -> str:
    return getattr(target, "id", None) or getattr(target, "attr", "")


def assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names and what they are given, pair by pair."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        yield name_of(node.target), node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(map(name_of, target.elts), node.value.elts, strict=True)
            else:
                yield name_of(target), node.value


def in_body(owner: ast.AST, kind: str | None, place: str) -> Iterator[Said]:
    """What is assigned to a `code` below, with the number that is assigned to a `status` beside it."""
    pairs = [pair for node in ast.walk(owner) for pair in assigned(node)]
    statuses = [number(value) for name, value in pairs if name == "status"]
    status = next((found for found in statuses if found is not None), None)
    for name, value in pairs:
        if name == "code":
            yield from (Said(text, kind, status, place) for text in texts(value))


def called(owner: ast.AST, place: str) -> Iterator[Said]:
    statuses = [number(v) for node in ast.walk(owner) for name, v in assigned(node) if name == "status"]
    beside = next((found for found in statuses if found is not None), None)
    for node in ast.walk(owner):
        if isinstance(node, ast.Call) and name_of(node.func) not in NO_ERRORS:
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            kind = name_of(node.func) if name_of(node.func) in KINDS else None
            status = number(given.get("status")) or (None if kind == "Conflict" else beside)
            yield from (Said(text, kind, status, place) for text in texts(given.get("code")))


def defaults(arguments: ast.arguments, kind: str | None, place: str) -> Iterator[Said]:
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
    for argument, value in [*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]:
        if argument.arg == "code":
            yield from (Said(text, kind, None, place) for text in texts(value))


def said() -> Iterator[Said]:
    for path in sorted(SOURCE.rglob("*.py")):
        place, source = str(path.relative_to(SOURCE)), path.read_text()
        if "code" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and node.name in KINDS:
                yield from in_body(node, node.name, place)
                yield from (
                    d
                    for f in node.body
                    if isinstance(f, ast.FunctionDef)
                    for d in defaults(f.args, node.name, place)
                )
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from in_body(node, None, place)
                yield from called(node, place)
                yield from defaults(node.args, None, place)
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                found = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
                if {"code", "message"} <= found.keys():
                    yield from (Said(text, None, None, place) for text in texts(found["code"]))


SAID = tuple(said())


def test_every_code_that_the_source_can_raise_is_in_the_catalogue_and_no_other() -> None:
    raised = {one.code: one.place for one in SAID}

    assert len(raised) > 50
    assert {code: place for code, place in raised.items() if code not in ENTRIES} == {}
    assert ENTRIES.keys() - raised.keys() == set()


def test_status_and_type_are_those_of_the_classes() -> None:
    wrong = []
    for one in SAID:
        if one.kind is not None:
            kind, entry = KINDS[one.kind], ENTRIES[one.code]
            status = one.status or (409 if one.kind == "Conflict" else kind.status)
            if (status, kind.type) != (entry.status, entry.type):
                wrong.append((one, entry.status, entry.type))

    assert wrong == []


def test_whether_a_retry_helps_is_what_the_classes_say() -> None:
    helps = {"always": True, "never": False}
    owners = {kind.code: kind for kind in known() if isinstance(vars(kind).get("code"), str)}
    told = {code: helps[entry.retry] for code, entry in ENTRIES.items() if entry.retry in helps}

    assert {code for code, entry in ENTRIES.items() if entry.retry == "depends"} == {
        "rate_limit_exceeded",
        "concurrency_limit_exceeded",
    }
    assert {c: kind for c, kind in owners.items() if c in told and told[c] != kind.should_retry} == {}
    assert [c for c, yes in told.items() if yes and c not in owners] == ["idempotency_in_progress"]


def test_a_code_that_is_missing_would_be_found() -> None:
    tree = ast.parse('def f():\n    raise Conflict("x", code="brand_new", status=410)')

    assert list(called(tree.body[0], "f.py")) == [Said("brand_new", "Conflict", 410, "f.py")]


def test_every_code_is_an_anchor_and_every_entry_says_what_to_do() -> None:
    assert [code for code in ENTRIES if not re.fullmatch(r"[a-z][a-z_]+", code)] == []
    short = [e.code for e in ENTRIES.values() if min(len(e.means), len(e.do)) < 12 or e.means[-1] not in ".:"]
    assert short == []
    assert sum(len(entries) for entries in load_errors().values()) == len(ENTRIES)


async def test_an_error_leads_to_its_entry(client: AsyncClient) -> None:
    wrong = await client.post("/v1/images/generations", json={"prompt": "a fox", "model": "dall-e-4"})
    nowhere = await client.get("/admin/v1/nothing")
    page = await client.get("/docs/errors")

    assert wrong.json()["error"].keys() == {"message", "type", "param", "code"}
    assert wrong.headers["link"] == '</docs/errors#model_not_found>; rel="help"'
    assert nowhere.headers["link"] == f'</docs/errors#{nowhere.json()["code"]}>; rel="help"'
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert [code for code in ENTRIES if f'<section id="{code}">' not in page.text] == []
