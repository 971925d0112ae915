"""How providers are reached, in memory: a book of credentials, and for each provider the pool of our keys there.

Everything here is plain memory: nothing waits, and a call takes a few microseconds. A key that is limited rests, one
that is refused is put out for minutes; where no key is left, the least bad one is tried again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from types import MappingProxyType

import structlog
from pydantic import SecretStr

from imagegate.domain import Credential
from imagegate.errors import RefusedUnbilled

log = structlog.get_logger()

REST_S, LONGEST_REST_S = 3.0, 60.0
"""How long a limited key rests where the provider does not say, and at most."""
FIRST_OUT_S, LONGEST_OUT_S = 60.0, 3600.0
"""How long a refused key is put out: at first, doubled each time, and at most."""


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key as it is used. id: `env:1` or `pvk_…`; secret None: the provider is asked without one."""

    id: str
    secret: SecretStr | None = field(repr=False)
    hint: str = ""


NO_KEY = ProviderKey("none", None)


@dataclass(frozen=True, slots=True)
class Access:
    """One provider as it can be reached: where, and with which keys, the first one being the credential's own."""

    credential: Credential
    keys: tuple[ProviderKey, ...]
    enabled: bool = True


@dataclass(slots=True)
class Standing:
    """How one key has fared. Moments are by the pool's clock, in seconds; 0 = never."""

    key: ProviderKey
    rests_until: float = 0.0
    out_until: float = 0.0
    limited_at: float = 0.0
    refusals: int = 0

    @property
    def free_at(self) -> float:
        return max(self.rests_until, self.out_until)


class KeyPool:
    """The keys of one provider, at least one. It stays with a key until that one is limited or refused."""

    def __init__(
        self, provider: str, keys: Sequence[ProviderKey], clock: Callable[[], float] = monotonic
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._known = {key.id: Standing(key) for key in keys}
        self._at = next(iter(self._known.values()))

    def pick(self) -> ProviderKey:
        """The key to use now."""
        if len(self._known) > 1 and self._at.free_at > (now := self._clock()):
            self._at = self._best(now)
        return self._at.key

    def _best(self, now: float) -> Standing:
        usable = [standing for standing in self._known.values() if standing.free_at <= now]
        if usable:
            return min(usable, key=lambda standing: standing.limited_at)
        # A key that only rests is less bad than one that was refused.
        return min(self._known.values(), key=lambda standing: (standing.out_until > now, standing.free_at))

    def find(self, key_id: str | None) -> ProviderKey | None:
        standing = self._known.get(key_id) if key_id is not None else None
        return standing.key if standing else None

    def report(self, key_id: str, error: Exception | None) -> None:
        """How an attempt with a key went; None: well."""
        standing = self._known.get(key_id)
        if standing is None:
            return
        if error is None:
            standing.refusals, standing.out_until = 0, 0.0
        elif isinstance(error, RefusedUnbilled) and error.bad_key:
            self._put_out(standing, self._clock())
        elif isinstance(error, RefusedUnbilled) and error.busy:
            rest_s = REST_S if error.wait_s is None else min(error.wait_s, LONGEST_REST_S)
            standing.limited_at = self._clock()
            standing.rests_until = max(standing.rests_until, standing.limited_at + rest_s)

    def has_usable(self) -> bool:
        now = self._clock()
        return len(self._known) > 1 and any(standing.free_at <= now for standing in self._known.values())

    def _put_out(self, standing: Standing, now: float) -> None:
        """Attempts that ran at the same time are refused together: these count once."""
        if standing.out_until > now:
            return
        out_s = min(FIRST_OUT_S * 2.0 ** min(standing.refusals, 10), LONGEST_OUT_S)
        standing.refusals += 1
        standing.out_until = now + out_s
        standing.limited_at = now
        key = standing.key
        log.warning(
            "provider_key_refused", provider=self._provider, key=key.id, hint=key.hint, out_s=round(out_s)
        )

    def state_of(self, key_id: str) -> tuple[str, float]:
        """`ready`, `resting` or `refused`, and for how many seconds more."""
        standing, now = self._known[key_id], self._clock()
        if standing.out_until > now:
            return "refused", standing.out_until - now
        return ("resting", standing.rests_until - now) if standing.rests_until > now else ("ready", 0.0)

    def take_over(self, other: "KeyPool") -> None:
        """What is known of the keys that both have."""
        for key_id, standing in other._known.items():
            mine = self._known.get(key_id)
            if mine is not None and mine.key == standing.key:
                self._known[key_id] = standing
        self._at = self._known.get(other._at.key.id, next(iter(self._known.values())))


class CredentialBook(Mapping[str, Credential]):
    """The providers that may be asked, by name. Whoever holds it brings it up to date with `replace`."""

    def __init__(
        self,
        found: Mapping[str, Access],
        clock: Callable[[], float] = monotonic,
        places: Mapping[str, Credential] = MappingProxyType({}),
    ) -> None:
        self._clock = clock
        self._places = places
        self.found: Mapping[str, Access] = {}
        """Every provider that can be reached, those that an operator has disabled too."""
        self.configured: Mapping[str, Credential] = {}
        """Their credentials. It is another object only when something has changed."""
        self.current: Mapping[str, Credential] = {}
        """Of those that are enabled. It is another object only when something has changed."""
        self._pools: dict[str, KeyPool] = {}
        self.replace(found)

    def replace(self, found: Mapping[str, Access]) -> None:
        """What is known of keys that stay is kept."""
        if found == self.found:
            return
        pools = {name: KeyPool(name, access.keys or (NO_KEY,), self._clock) for name, access in found.items()}
        for name, pool in pools.items():
            if name in self._pools:
                pool.take_over(self._pools[name])
        self._pools, self.found = pools, dict(found)
        self.configured = {name: access.credential for name, access in found.items()}
        enabled = {name: access.credential for name, access in found.items() if access.enabled}
        self.current = enabled if len(enabled) < len(found) else self.configured

    @property
    def places(self) -> dict[str, Credential]:
        """Where callers with a key of their own may be sent: providers whose address is known, without our keys."""
        found = self.found
        return {
            name: place for name, place in self._places.items() if name not in found or found[name].enabled
        }

    def __getitem__(self, provider: str) -> Credential:
        return self.current[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self.current)

    def __len__(self) -> int:
        return len(self.current)

    def pick(self, provider: str, preferred: str | None = None) -> ProviderKey:
        """The key for the next attempt. preferred: the id of one to be used if it is still there.

        NO_KEY for a provider that has just been taken away.
        """
        pool = self._pools.get(provider)
        if pool is None:
            return NO_KEY
        return (pool.find(preferred) if preferred else None) or pool.pick()

    def report(self, provider: str, key_id: str, error: Exception | None) -> None:
        """How an attempt with a key went; None: well."""
        if (pool := self._pools.get(provider)) is not None:
            pool.report(key_id, error)

    def helps(self, provider: str, error: Exception | None) -> bool:
        """After an error that was reported: whether another key of ours may be tried at once."""
        if not isinstance(error, RefusedUnbilled) or error.at_risk or not (error.busy or error.bad_key):
            return False
        pool = self._pools.get(provider)
        return pool is not None and pool.has_usable()

    def state_of(self, provider: str, key_id: str) -> tuple[str, float] | None:
        """`ready`, `resting` or `refused`, and for how many seconds more; None for a key that is not in use."""
        pool = self._pools.get(provider)
        return pool.state_of(key_id) if pool and pool.find(key_id) else None
