"""The catalogue: what can be made and by whom, read once, never changed. It knows no prices in force.

Over it lie the rules of models and operators' preferences, which change while the process runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from imagegate.catalogue.entries import Entry, Provider, serving
from imagegate.catalogue.naming import Names, index_names
from imagegate.catalogue.preferences import PreferenceBook
from imagegate.catalogue.reading import read_documents
from imagegate.catalogue.rules import RuleBook
from imagegate.domain import Model, Offering, SizeRule
from imagegate.errors import UnknownModel

SANDBOX = "sandbox"
STAND_IN = MappingProxyType(
    {
        "operations": ("generate", "edit", "inpaint"),
        "max_input_images": 16,
        "mask": "alpha",
        "seed": True,
        "negative_prompt": True,
        "steps": True,
        "guidance": True,
        "style": True,
        "thinking": ("off", "minimal", "low", "medium", "high", "xhigh"),
        "prompt_enhancement": True,
        "background": True,
        "transparent_background": True,
        "output_compression": True,
        "previews": 3,
        "lacks": {"edit": ["previews"], "inpaint": ["previews"]},
    }
)
"""What the sandbox can do for every model that it stands in for."""
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
    rules: RuleBook = field(default_factory=RuleBook)
    preferences: PreferenceBook = field(default_factory=PreferenceBook)

    def find(self, name: str) -> Match:
        """The model of a name: `dall-e-3`, `openai/dall-e-3`, `openai:dall-e-3`, an alias. Raises UnknownModel.

        Also where it is disabled or redirected: this is how operators name a model.
        """
        if (alias := self.rules.find_alias(name)) is not None:
            return self._aliased(alias)
        try:
            model_id, provider = self.names.find(name)
        except UnknownModel:
            match = self._find_like_alias(name)
            if match is None:
                raise
            return match
        return Match(self.models[model_id], provider)

    def find_served(self, name: str) -> Match:
        """The model that serves and prices a caller's request for a name, under the rules of models.

        Raises UnknownModel, also where the model is disabled.
        """
        match = self.find(name)
        served = self.served(match.model)
        provider = match.forced_provider
        if served is not match.model and provider and provider not in self.names.providers[served.id]:
            raise UnknownModel(
                f"{match.model.id} is redirected to {served.id} here, which {provider} does not sell. "
                f"Ask for {served.id}. Nothing was charged."
            )
        return Match(served, provider)

    def served(self, model: Model) -> Model:
        """The model itself, or the one it is redirected to. Raises UnknownModel where it is disabled."""
        return self.models[self.rules.follow(model.id, self.entries)]

    def listed(self) -> Iterator[Model]:
        """The models that callers may name: those that are not disabled, in catalogue order."""
        for model in self.models.values():
            try:
                self.served(model)
            except UnknownModel:
                continue
            yield model

    def _find_like_alias(self, name: str) -> Match | None:
        """In other letters than the alias, or behind a provider: `openai:pretty`, `openai/pretty`."""
        if (alias := self.rules.find_alias(name, exactly=False)) is not None:
            return self._aliased(alias)
        for mark in ":/":
            provider, _, rest = name.partition(mark)
            if (alias := self.rules.find_alias(rest, exactly=False)) is not None:
                model_id, forced = self.names.find(f"{provider}:{alias}")
                return Match(self.models[model_id], forced)
        return None

    def _aliased(self, model_id: str) -> Match:
        if model_id not in self.models:
            text = f"This is an alias of {model_id}, which this gateway does not know any more."
            raise UnknownModel(f"{text} GET /v1/models lists all. Nothing was charged.")
        return Match(self.models[model_id])

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
        features={**STAND_IN, **limits_of(sold)},
        passes=frozenset[str]().union(*(o.passes for o in sold)),
        sells_as=frozenset({SANDBOX, *(o.provider for o in sold), *entries[model.id].sold_as}),
    )


def limits_of(sold: tuple[Offering, ...]) -> dict[str, Any]:
    """What would be an error at every provider is one at the sandbox too: a test key must not promise more."""
    others = [o.features for o in sold if o.provider != SANDBOX]
    if not others:
        return {}
    inputs = [most for f in others if isinstance(most := f.get("max_input_images"), int)]
    return {
        "operations": union(f.get("operations", ("generate",)) for f in others),
        "max_input_images": max(inputs, default=0),
        "thinking": union(f.get("thinking", ()) for f in others),
        "previews": max((f.get("previews", 0) for f in others), default=0),
    }


def union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Each word once, in the order in which they come."""
    return tuple(dict.fromkeys(word for words in lists for word in words))
