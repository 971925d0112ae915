"""Price files: CSV and YAML, written and read. Reading finds every fault, and each with its line.

A file has one number a row: `model,item,size,quality,tokens`. An empty size or quality means any. It speaks of whole
models: what a file says of a model is all that the model's price is to have, and what it does not name stays.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import yaml

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.price_items import BOUND, ENDED, IMAGE, ITEMS, Item, check_tokens, put_together
from imagegate.catalogue.reading import Loader
from imagegate.catalogue.terms import Terms, parse_size
from imagegate.domain import Model
from imagegate.errors import OperatorError, UnknownModel

COLUMNS = ("model", "item", "size", "quality", "tokens")
MOST_FAULTS = 20
WITH_A_PLACE = (IMAGE, BOUND)


@dataclass(frozen=True, slots=True)
class Raw:
    """A row as the file has it."""

    line: int
    fields: Mapping[str, str]


class Fault(ValueError):
    """Something wrong at a line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"  line {line}: {text}")
        self.line = line


def write_csv(items: Iterable[Item]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in items:
        writer.writerow(texts_of(item).values())
    return out.getvalue()


def write_yaml(items: Iterable[Item]) -> str:
    """The rows of each model under its id, without what is empty."""
    lines, last = [], None
    for item in items:
        if item.model != last:
            lines.append(f"{item.model}:")
            last = item.model
        said = {name: text for name, text in texts_of(item).items() if text and name != "model"}
        lines.append("- {" + ", ".join(f"{name}: {text}" for name, text in said.items()) + "}")
    return "\n".join(lines) + "\n" if lines else "{}\n"


def texts_of(item: Item) -> dict[str, str]:
    tokens = "" if item.tokens is None else str(item.tokens)
    size = str(item.size) if item.size else ""
    return dict(zip(COLUMNS, (item.model, item.item, size, item.quality or "", tokens), strict=True))


def read_prices(
    name: str, text: str, catalogue: Catalogue, current: Mapping[str, Terms | None], words: Mapping[str, str]
) -> dict[str, Terms | None]:
    """The price of each model that a file names; None: it ends. name: the file's; .yaml and .yml are YAML, else CSV.

    words: other words for qualities. current: a quality that a price in force has is known, too.
    Raises OperatorError naming the lines of the faults, at most 20.
    """
    faults: list[Fault] = []
    items: list[Item] = []
    try:
        raws = list(read_yaml(text) if name.endswith((".yaml", ".yml")) else read_csv(text))
    except Fault as fault:
        raise OperatorError(refusal(name, [fault])) from None
    for raw in raws:
        try:
            items.append(read_item(raw, catalogue, current, words))
        except ValueError as error:
            faults.append(Fault(raw.line, str(error)))
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.model, []).append(item)
    terms: dict[str, Terms | None] = {}
    for model, its_items in found.items() if not faults else ():
        try:
            terms[model] = put_together(its_items)
        except ValueError as error:
            faults.append(Fault(its_items[-1].line, f"{model} {error}"))
    if faults:
        raise OperatorError(refusal(name, faults))
    return terms


def refusal(name: str, faults: list[Fault]) -> str:
    shown = sorted(faults, key=lambda fault: fault.line)[:MOST_FAULTS]
    left = f"\n  and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    head = f"The price file {name} is not valid, so nothing was changed:\n"
    return head + "\n".join(map(str, shown)) + left


def read_csv(text: str) -> Iterator[Raw]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = next(reader, [])
        if sorted(header) != sorted(COLUMNS):
            raise Fault(1, f"the columns must be {','.join(COLUMNS)}")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise Fault(reader.line_num, f"has {len(row)} fields instead of {len(header)}")
            yield Raw(reader.line_num, dict(zip(header, (field.strip() for field in row), strict=True)))
    except csv.Error as error:
        raise Fault(reader.line_num, f"is not CSV: {error}") from None


def read_yaml(text: str) -> Iterator[Raw]:
    try:
        root = yaml.compose(text, Loader)  # nodes, because they know their lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Fault(line, f"is not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise Fault(1, "is not YAML") from None
    if root is None:
        return
    for model, rows in pairs_of(root, "the file must give each model a list of its prices"):
        if not isinstance(rows, yaml.SequenceNode):
            raise Fault(line_of(rows), "a model has a list of rows such as {item: image, tokens: 30000}")
        for row in rows.value:
            fields = {"model": model.value}
            for key, value in pairs_of(
                row, "a row is written as {item: image, size: 1024x1024, tokens: 30000}"
            ):
                if key.value not in COLUMNS or key.value in fields or not isinstance(value, yaml.ScalarNode):
                    raise Fault(line_of(key), f"a row has each of {', '.join(COLUMNS[1:])} at most once")
                fields[key.value] = value.value
            yield Raw(line_of(row), fields)


def pairs_of(node: Any, otherwise: str) -> list[tuple[Any, Any]]:
    if not isinstance(node, yaml.MappingNode) or any(
        not isinstance(key, yaml.ScalarNode) for key, _ in node.value
    ):
        raise Fault(line_of(node), otherwise)
    return list(node.value)


def line_of(node: Any) -> int:
    return int(node.start_mark.line) + 1


def read_item(
    raw: Raw, catalogue: Catalogue, current: Mapping[str, Terms | None], words: Mapping[str, str]
) -> Item:
    """Raises ValueError saying in which column what is wrong."""
    said = {column: raw.fields.get(column, "") for column in COLUMNS}
    with column("model"):
        try:
            model = catalogue.find(said["model"]).model
        except UnknownModel as error:
            raise ValueError(error.message) from None
    with column("size"):
        item = Item(model.id, said["item"], parse_size(said["size"] or None), line=raw.line)
    with column("item"):
        if item.item not in ITEMS:
            raise ValueError(f"{said['item'][:40]!r} is no item; there are {', '.join(ITEMS)}")
        if item.item not in WITH_A_PLACE and (item.size or said["quality"]):
            raise ValueError(f"{item.item} has neither a size nor a quality")
    with column("quality"):
        item = replace(item, quality=read_quality(said["quality"], model, current, words))
    with column("tokens"):
        return replace(item, tokens=read_tokens(item, said["tokens"]))


@contextmanager
def column(name: str) -> Iterator[None]:
    """What is wrong inside is wrong in this column."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"column {name}: {error}") from None


def read_quality(
    said: str, model: Model, current: Mapping[str, Terms | None], words: Mapping[str, str]
) -> str | None:
    if not said:
        return None
    word = words.get(said, said)
    if word not in (*model.qualities, *qualities_of(current.get(model.id))):
        known = ", ".join(model.qualities) or "none"
        raise ValueError(f"{model.id} has no quality {said[:40]!r}; it has: {known}")
    return word


def read_tokens(item: Item, said: str) -> int | None:
    if item.item == ENDED:
        if said:
            raise ValueError("what has ended has no tokens")
        return None
    if not re.fullmatch(r"[0-9]{1,13}", said):
        raise ValueError(f"tokens must be a whole number, not {said[:40]!r}")
    return check_tokens(int(said))


def qualities_of(terms: Terms | None) -> set[str]:
    if terms is None:
        return set()
    cells = terms.per_token.bounds if terms.per_token else terms.cells
    return {quality for _, quality in cells if quality}
