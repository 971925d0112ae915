"""The catalogue's own nouns: a provider, and a model with everything that is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagegate.domain import Model


@dataclass(frozen=True, slots=True)
class Provider:
    """How a provider is reached. `adapter`: `module:Class`; `base_url` None: the environment tells it.

    test_path: below the base URL; a GET there with our key costs nothing and fails without one. test_header: what
    the key is sent in there; None = `Authorization: Bearer`.
    """

    name: str
    adapter: str
    base_url: str | None = None
    needs_key: bool = True
    needs_url: bool = True
    errors_unbilled: bool = False
    rests: bool = True
    trusted_hosts: frozenset[str] = frozenset()
    test_path: str | None = None
    test_header: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A model with every offering that is known, reachable from here or not.

    list_provider: whose cost is the creator's own list price.
    sold_as: of a retired model, what each provider called it.
    price: our own price by decision, as `prices.yaml` has it; None = the list price counts.
    """

    model: Model
    list_provider: str | None = None
    sold_as: Mapping[str, str] = field(default_factory=dict)
    price: Mapping[str, Any] | None = None

    @property
    def retired(self) -> bool:
        """Nobody sells it any more; its successor serves it."""
        return not self.model.offerings


def serving(entries: Mapping[str, Entry], model_id: str) -> Entry:
    """The entry that serves a model: itself, or the first successor that is sold."""
    entry = entries[model_id]
    while entry.retired and entry.model.successor:
        entry = entries[entry.model.successor]
    return entry
