"""Rules of models: what an operator has said over the catalogue, in memory.

A model can be *disabled*, so that nobody may ask for it, or *redirected*, so that its requests are served and priced
as another model's. An *alias* is a further name of a model. A retired model that has no rule of its own follows the
rule of the model that serves it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from imagegate.catalogue.entries import Entry
from imagegate.errors import UnknownModel

RuleKind = Literal["disabled", "alias", "redirect"]


@dataclass(frozen=True, slots=True)
class Rule:
    """name: a model's id, or the alias itself. target: a model's id; None where the model is disabled."""

    name: str
    kind: RuleKind
    target: str | None
    reason: str
    actor: str
    at: datetime


class RuleBook:
    """The rules in force, in memory. Whoever holds it brings it up to date with `replace`."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.changes = 0
        """Counts how often the rules were replaced: what was worked out under older ones is to be worked out anew."""
        self.replace(rules)

    def replace(self, rules: Iterable[Rule]) -> None:
        known = list(rules)
        self.changes += 1
        self._of_models = {rule.name: rule for rule in known if rule.kind != "alias"}
        self._aliases = {rule.name: rule for rule in known if rule.kind == "alias"}
        self._folded = {name.casefold(): rule for name, rule in self._aliases.items()}

    @property
    def rules(self) -> list[Rule]:
        """All of them, by name."""
        return sorted([*self._of_models.values(), *self._aliases.values()], key=lambda rule: rule.name)

    @property
    def aliases(self) -> Mapping[str, Rule]:
        return self._aliases

    def find_alias(self, name: str, *, exactly: bool = True) -> str | None:
        """The id of the model that an operator has given this name to; in any letters unless `exactly`."""
        rule = self._aliases.get(name) if exactly else self._folded.get(name.casefold())
        return rule.target if rule else None

    def aliases_of(self, model_id: str) -> list[str]:
        return sorted(name for name, rule in self._aliases.items() if rule.target == model_id)

    def find(self, model_id: str) -> Rule | None:
        """What was said of the model itself."""
        return self._of_models.get(model_id)

    def follow(self, model_id: str, entries: Mapping[str, Entry]) -> str:
        """The id of the model that serves and prices requests for this one. Raises UnknownModel where nobody does."""
        if not self._of_models:
            return model_id
        at, seen = model_id, {model_id}
        while rule := self._governing(at, entries):
            if rule.target is None:
                raise UnknownModel(disabled(model_id, rule.name))
            if rule.target not in entries:
                text = f"{model_id} is redirected to {rule.target}, which this gateway does not know."
                raise UnknownModel(f"{text} Its operator can enable it again. Nothing was charged.")
            if rule.target in seen:
                raise UnknownModel(f"{model_id} is redirected in a circle, so nobody serves it.")
            at = rule.target
            seen.add(at)
        return at

    def _governing(self, model_id: str, entries: Mapping[str, Entry]) -> Rule | None:
        entry = entries[model_id]
        rule = self._of_models.get(model_id)
        while rule is None and entry.retired and entry.model.successor:
            entry = entries[entry.model.successor]
            rule = self._of_models.get(entry.model.id)
        return rule


def disabled(asked: str, model_id: str) -> str:
    what = f"The model {asked}" if asked == model_id else f"{asked} is served by {model_id}, which"
    return (
        f"{what} is disabled on this gateway. GET /v1/models lists those that are not. Nothing was charged."
    )
