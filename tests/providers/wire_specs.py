"""What each provider accepts, in `tests/wire/specs/<provider>.json`, and whether a request keeps to it.

`requests`: `method`, `path` (a pattern over what comes below the base URL), `content` (json, multipart or none),
`headers` (`{key}` stands for our key; a value that begins with `^` is a pattern) and `schema`, JSON Schema 2020-12.
In a multipart schema text fields are strings, and a property `{"file": true}` is a file.
Cases of parameters and pictures are required as the packaged catalogue's features say that there are such.
`not_applicable`: required cases that this provider cannot have, and why. `covered_by`: required cases whose file has
another name. `key`: a key of the provider's own form.
"""

import json
import re
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from imagegate.domain import ProviderCall
from tests.providers.wire_images import parts_of
from tests.providers.wire_offerings import offerings

FOLDER = Path(__file__).parent.parent / "wire"
KEY = "sk-wire-0123456789"
REQUIRED = (
    "delivered",
    "refused",
    "busy",
    "quota",
    "bad_key",
    "down",
    "nothing",
    "truncated",
    "wrong_type",
    "web_page_502",
)
REQUIRED_OF_POLLED = (
    "poll_pending_then_delivered",
    "poll_failed",
    "poll_never_ends",
    "foreign_polling_host",
)
PARAMETERS, EDIT, TWO_IMAGES, MASKED = "parameters", "edit", "edit_two_images", "edit_masked"


def is_file(validator: Any, wanted: bool, instance: Any, schema: Any) -> Any:
    if wanted and instance != {"file": True}:
        yield ValidationError("is no file")


Validator = extend(Draft202012Validator, {"file": is_file})


def adapters() -> dict[str, str]:
    """The dotted path of every adapter in providers.yaml that goes out to the internet."""
    text = files("imagegate.catalogue").joinpath("providers.yaml").read_text()
    known = yaml.safe_load(text)["providers"]
    return {name: entry["adapter"] for name, entry in sorted(known.items()) if name != "sandbox"}


def adapter_class(provider: str) -> Any:
    module, _, name = adapters()[provider].partition(":")
    return getattr(import_module(module), name)


def is_polled(provider: str) -> bool:
    return hasattr(adapter_class(provider), "resume")


def polled_providers() -> list[str]:
    """One whose adapter cannot be imported is left to the tests of every provider, which fail for it."""
    found = []
    for name in adapters():
        with suppress(ImportError, AttributeError, SyntaxError):
            found += [name] if is_polled(name) else []
    return found


def spec_of(provider: str) -> dict[str, Any]:
    path = FOLDER / "specs" / f"{provider}.json"
    assert path.exists(), f"{provider} has no spec: write tests/wire/specs/{provider}.json"
    return dict(json.loads(path.read_text()))


def key_of(provider: str) -> str:
    return str(spec_of(provider).get("key", KEY))


def case_file(provider: str, name: str) -> Path:
    return FOLDER / provider / f"{spec_of(provider).get('covered_by', {}).get(name, name)}.json"


def required_cases(provider: str) -> list[str]:
    names = [*REQUIRED, *(REQUIRED_OF_POLLED if is_polled(provider) else ()), *cases_with_sent(provider)]
    return [name for name in names if name not in spec_of(provider).get("not_applicable", {})]


@cache
def cases_with_sent(provider: str) -> tuple[str, ...]:
    """The cases of parameters and pictures: what the packaged catalogue sells; all where it sells nothing."""
    sold = [offering.features for offering in offerings(provider)]
    most = max((features.get("max_input_images", 0) for features in sold), default=2)
    edits = (EDIT,) if most else ()
    edits += (TWO_IMAGES,) if most > 1 else ()
    edits += (MASKED,) if not sold or any(features.get("mask") for features in sold) else ()
    return (PARAMETERS, *edits)


def check_spec(spec: dict[str, Any]) -> None:
    """A spec that lets everything pass proves nothing."""
    assert spec["requests"], "the spec knows no request"
    for entry in spec["requests"]:
        assert entry["method"] in ("GET", "POST", "PUT", "DELETE"), entry
        re.compile(entry["path"])
        if entry["content"] == "none":
            continue
        Validator.check_schema(entry["schema"])
        assert is_closed(entry["schema"]), f"the schema of {entry['path']} takes any property"
    assert all(spec.get("not_applicable", {}).values()), "not_applicable says no reason"


def is_closed(schema: dict[str, Any]) -> bool:
    if schema.get("additionalProperties") is False or schema.get("unevaluatedProperties") is False:
        return True
    branches = schema.get("anyOf") or schema.get("oneOf") or []
    return bool(branches) and all(is_closed(branch) for branch in branches)


def check_request(spec: dict[str, Any], request: httpx.Request, call: ProviderCall, key: str | None) -> None:
    """Fails unless the spec has this request, with these headers and this body."""
    host = request.url.netloc.decode()
    home = httpx.URL(call.base_url).netloc.decode()
    assert host in {home, *call.trusted_hosts}, f"{request.url} is nobody's we know, and may have got our key"
    entry = entry_for(spec, request, call)
    for name, wanted in entry.get("headers", {}).items():
        value, wanted = request.headers.get(name, ""), wanted.replace("{key}", key or "")
        known = re.search(wanted, value) if wanted.startswith("^") else value == wanted
        assert known or key is None, f"the header {name} is {value!r}, not {wanted!r}"
    body = body_of(request)
    if entry["content"] == "none":
        assert not request.content, f"{request.url} takes no body"
        return
    kind = {"json": "application/json", "multipart": "multipart/form-data"}[entry["content"]]
    assert request.headers["content-type"].startswith(kind)
    wrong = [f"{error.json_path}: {error.message}" for error in Validator(entry["schema"]).iter_errors(body)]
    assert not wrong, wrong


def path_of(request: httpx.Request, call: ProviderCall) -> str:
    """Below the base URL, where it is the base URL's host."""
    base = httpx.URL(call.base_url)
    path = request.url.raw_path.decode().partition("?")[0]
    if request.url.netloc == base.netloc:
        path = "/" + path.removeprefix(base.path.rstrip("/")).lstrip("/")
    return path


def entry_for(spec: dict[str, Any], request: httpx.Request, call: ProviderCall) -> dict[str, Any]:
    path, query = path_of(request, call), request.url.query.decode()
    forms = (path, path.lstrip("/"), f"{path}?{query}", f"{path}?{query}".lstrip("/"))
    for entry in spec["requests"]:
        known = any(re.fullmatch(entry["path"], form) for form in forms)
        if entry["method"] == request.method and known:
            return dict(entry)
    raise AssertionError(f"the spec knows no {request.method} {request.url}")


def body_of(request: httpx.Request) -> Any:
    """JSON; or a form's fields by name, a list where a name comes twice, and a file as `{"file": true}`."""
    kind = request.headers.get("content-type", "")
    if not request.content:
        return None
    if not kind.startswith("multipart/form-data"):
        return json.loads(request.content)
    fields: dict[str, list[Any]] = {}
    for part in parts_of(request):
        fields.setdefault(part.name, []).append(
            part.content.decode() if part.file is None else {"file": True}
        )
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
