"""What callers may call a model, and what they may have meant when nothing is called that.

A model answers to its id, its bare name, its aliases and the ids providers give it; with `provider:` or
`provider/` in front of any of these a caller forces that provider, if it sells the model. Where two models
share a name, an id goes before a bare name, a bare name before an alias, an alias before a provider's id, and
then catalogue order decides. Capital and small letters are told apart as long as that finds something.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from imagegate.catalogue.entries import Entry, serving
from imagegate.errors import UnknownModel

MAX_SUGGESTED_LENGTH = 100
Found = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Names:
    """exact and folded: name → model id and forced provider; folded in small letters, for a second look."""

    exact: Mapping[str, Found]
    folded: Mapping[str, Found]
    providers: Mapping[str, tuple[str, ...]]
    """Model id → who sells it, in catalogue order."""

    def find(self, name: str) -> Found:
        """Model id and forced provider. Raises UnknownModel with at most three suggestions."""
        found = self.exact.get(name) or self.folded.get(name.casefold())
        if found is None:
            raise UnknownModel(self._explain(name))
        return found

    def _explain(self, name: str) -> str:
        if len(name) > MAX_SUGGESTED_LENGTH:
            return "There is no model of this name. GET /v1/models lists all."
        shown = f"The model '{name}'" if re.fullmatch(r"[\w.:/-]+", name) else "This model"
        prefix, rest = re.match(r"(?:([^:/]+)[:/])?(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
        known = self.exact.get(rest) or self.folded.get(rest.casefold())
        if prefix and known and known[1] is None:
            sellers = ", ".join(self.providers[known[0]])
            return f"{shown} does not exist: {known[0]} is sold by {sellers}. Did you mean {known[0]}?"
        meant = self._suggest(name)
        hint = f"Did you mean {', '.join(meant)}?" if meant else "GET /v1/models lists all."
        return f"{shown} does not exist. {hint}"

    def _suggest(self, name: str) -> list[str]:
        candidates = [n for n, (_, provider) in self.folded.items() if provider is None]
        last = re.split(r"[:/]", name.casefold())[-1]
        close = [
            *get_close_matches(name.casefold(), candidates, n=3),
            *get_close_matches(last, candidates, n=3),
        ]
        return list(dict.fromkeys(self.folded[n][0] for n in close))[:3]


def index_names(entries: Mapping[str, Entry]) -> Names:
    sellers = {id_: tuple(dict.fromkeys(sellers_of(entries, id_))) for id_ in entries}
    exact: dict[str, Found] = {}
    for calls in (called_id, called_name, called_alias, called_upstream):
        for id_, entry in entries.items():
            for _, name in calls(entry, sellers[id_]):
                exact.setdefault(name, (id_, None))
    for calls in (called_id, called_name, called_alias, called_upstream):
        for id_, entry in entries.items():
            for provider, name in calls(entry, sellers[id_]):
                exact.setdefault(f"{provider}:{name}", (id_, provider))
                exact.setdefault(f"{provider}/{name}", (id_, provider))
    folded: dict[str, Found] = {}
    for name, found in exact.items():
        folded.setdefault(name.casefold(), found)
    return Names(exact, folded, sellers)


def sellers_of(entries: Mapping[str, Entry], model_id: str) -> Iterator[str]:
    """A retired model is also asked for by those who once sold it."""
    yield from (o.provider for o in serving(entries, model_id).model.offerings)
    yield from entries[model_id].sold_as


def called_id(entry: Entry, sellers: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return ((seller, entry.model.id) for seller in sellers)


def called_name(entry: Entry, sellers: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return ((seller, entry.model.name) for seller in sellers)


def called_alias(entry: Entry, sellers: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for alias in entry.model.aliases:
        yield from ((seller, alias) for seller in sellers)
        yield from ((seller, f"{entry.model.creator}/{alias}") for seller in sellers)


def called_upstream(entry: Entry, _: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What each provider calls it: forced only for that provider."""
    yield from ((o.provider, o.upstream_model) for o in entry.model.offerings)
    yield from entry.sold_as.items()
