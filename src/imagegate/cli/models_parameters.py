"""`imagegate models parameters`: what becomes of every parameter, of one model or of all as Markdown."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json

if TYPE_CHECKING:
    from imagegate.catalogue.catalogue import Catalogue

OURS = {"moderation", "user"}
"""Parameters of ours that a provider calls by the same name."""
LETTERS = {"passed": "P", "renamed": "R", "converted": "C", "emulated": "E", "ignored": "–", "refused": "!"}
HEAD = """# Parameters, model by model

Written by `imagegate models parameters --all`, from the same functions that plan a request; a test compares it with the
catalogue. `GET /v1/models/{id}?schema=true` tells it in full, with limits and for each value.

| sign | |
|---|---|
| P | passed: the provider is told, in our words |
| R | renamed: told in other words |
| C | converted: told the nearest that it knows |
| E | emulated: the gateway does it |
| – | ignored, and told in `metadata.parameters`; with `strict: true` an error |
| ! | an error |

Several signs: it depends on the value. Fields of a provider's own that pass through stand in the last column.
"""


def parameters(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Any of its names.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model, as a Markdown document.")] = False,
    json: Json = False,
) -> None:
    """Show what becomes of every parameter at each provider of a model: passed, converted, emulated, ignored."""
    if (model is None) == (not all_):
        raise typer.BadParameter("Name a model, or say --all.")

    async def work(desk: Desk) -> None:
        from imagegate.catalogue.catalogue import load_catalogue
        from imagegate.generation.describing import describe

        catalogue = load_catalogue(desk.settings().catalogue_file)
        if model is None:
            desk.answer(dict(all_told(catalogue)), document(catalogue).rstrip("\n"))
            return
        served = catalogue.find(model).model
        told = describe(served, catalogue.shelf("live").get(served.id, ()))
        providers = list(dict.fromkeys(o.provider for o in served.offerings))
        rows = [[name, *(words(of["treatment"].get(p)) for p in providers)] for name, of in told.items()]
        desk.answer_table({"model": served.id, "parameters": told}, ("parameter", *providers), rows, "")

    run(work, json=json)


def all_told(catalogue: "Catalogue") -> Iterator[tuple[str, dict[str, Any]]]:
    from imagegate.generation.describing import describe

    for id_, model in catalogue.models.items():
        if not model.successor:
            yield id_, describe(model, catalogue.shelf("live").get(id_, ()))


def document(catalogue: "Catalogue") -> str:
    """One table a provider; a row for each model that it sells, a column for each parameter."""
    told = dict(all_told(catalogue))
    named = {name: None for of in told.values() for name in of}
    passes = {name for m in catalogue.models.values() for o in m.offerings for name in o.passes} - OURS
    columns = [name for name in named if name not in passes]
    parts = [HEAD]
    for provider in catalogue.providers:
        rows = [row for id_, of in told.items() if (row := row_of(id_, of, provider, columns, passes))]
        if rows:
            heads = ("model", *columns, "own fields")
            parts += [f"\n## {provider}\n", line(heads), line(["---"] * len(heads)), *map(line, rows)]
    return "\n".join(parts) + "\n"


def row_of(
    id_: str, told: Mapping[str, Any], provider: str, columns: list[str], passes: set[str]
) -> list[str] | None:
    """None: this provider does not sell the model."""
    found = {name: of["treatment"].get(provider) for name, of in told.items()}
    if found.get("n") is None:
        return None
    own = [f"`{name}`" for name in found if name in passes and name not in columns and found[name]]
    return [id_, *(signs(found.get(name)) for name in columns), " ".join(own)]


def signs(treatment: str | Mapping[str, str] | None) -> str:
    if treatment is None:
        return "–"
    said = [treatment] if isinstance(treatment, str) else treatment.values()
    return " ".join(LETTERS[word] for word in LETTERS if word in said)


def words(treatment: str | Mapping[str, str] | None) -> str:
    if treatment is None or isinstance(treatment, str):
        return treatment or ""
    grouped: dict[str, list[str]] = {}
    for value, word in treatment.items():
        grouped.setdefault(word, []).append(value)
    return "; ".join(
        f"{word}: {', '.join(values[:6])}{' …' * (len(values) > 6)}" for word, values in grouped.items()
    )


def line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
