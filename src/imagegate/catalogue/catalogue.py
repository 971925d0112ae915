"""The catalogue: what can be made and by whom, read once, never changed. It knows no prices in force."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from imagegate.catalogue.entries import Entry, Provider, serving
from imagegate.catalogue.naming import Names, index_names
from imagegate.catalogue.reading import read_documents
from imagegate.domain import Model, Offering, SizeRule

SANDBOX = "sandbox"
Shelf = Mapping[str, tuple[Offering, ...]]


@dataclass(frozen=True, slots=True)
class Match:
    """A model a caller named. `forced_provider`: nobody else may be asked."""

    model: Model
    forced_provider: str | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """entries hold all that is known; models are what callers name, with what can be reached."""

    providers: Mapping[str, Provider]
    entries: Mapping[str, Entry]
    models: Mapping[str, Model]
    names: Names
    shelves: Mapping[str, Shelf]

    def find(self, name: str) -> Match:
        """`dall-e-3`, `openai/dall-e-3`, `openai:dall-e-3`, an alias. Raises UnknownModel."""
        model_id, provider = self.names.find(name)
        return Match(self.models[model_id], provider)

    def shelf(self, env: str) -> Shelf:
        """Model id → offerings: on `live` what can be reached, on `test` the sandbox in its place."""
        return self.shelves[env]


def load_catalogue(extra_file: Path | None = None) -> Catalogue:
    """The packaged data, an operator's file over it. Raises OperatorError naming file and fault."""
    providers, entries = read_documents(extra_file)
    live = {id_: reachable(serving(entries, id_), providers) for id_ in entries}
    models = {id_: model_of(entries, id_, live[id_]) for id_ in entries}
    test = {id_: (stand_in(entries, models[id_]),) for id_ in entries}
    return Catalogue(
        providers=MappingProxyType(providers),
        entries=MappingProxyType(entries),
        models=MappingProxyType(models),
        names=index_names(entries),
        shelves=MappingProxyType({"live": MappingProxyType(live), "test": MappingProxyType(test)}),
    )


def reachable(entry: Entry, providers: Mapping[str, Provider]) -> tuple[Offering, ...]:
    return tuple(o for o in entry.model.offerings if o.provider in providers)


def model_of(entries: Mapping[str, Entry], model_id: str, offerings: tuple[Offering, ...]) -> Model:
    """A retired model keeps its own sizes and qualities; the rest it has from its successor."""
    model = entries[model_id].model
    limit = model.max_prompt_chars or serving(entries, model_id).model.max_prompt_chars
    return replace(model, offerings=offerings, max_prompt_chars=limit)


def stand_in(entries: Mapping[str, Entry], model: Model) -> Offering:
    """The sandbox in a model's place: it draws any size and answers for every provider that sells it."""
    sold = serving(entries, model.id).model.offerings
    return Offering(
        provider=SANDBOX,
        upstream_model=model.id,
        sizes=SizeRule(kind="free", max_edge=4096),
        max_n=10,
        qualities=model.qualities,
        formats=("png", "jpeg", "webp"),
        features={
            "seed": True,
            "background": True,
            "transparent_background": True,
            "output_compression": True,
        },
        passes=frozenset[str]().union(*(o.passes for o in sold)),
        sells_as=frozenset({SANDBOX, *(o.provider for o in sold), *entries[model.id].sold_as}),
    )
