"""YAML to providers and entries, checked: the packaged files, and an operator's file of the same shape."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, reduce
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from imagegate.catalogue.entries import Entry, Provider
from imagegate.catalogue.figures import Day, Rank, SizeText, Tokens, Usd, Weight, check_grid
from imagegate.domain import Model, Offering, Size, SizeRule
from imagegate.errors import OperatorError

Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PACKAGED = ("providers.yaml", "models.yaml", "prices.yaml")
MAX_FILE_BYTES = 4 * 1024 * 1024


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderRecord(Record):
    adapter: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    base_url: str | None = Field(None, pattern=r"^https?://[^/\s]+")
    needs_key: bool = True
    needs_url: bool = True
    errors_unbilled: bool = False
    rests: bool = True
    trusted_hosts: frozenset[str] = frozenset()
    test_path: str | None = Field(None, pattern=r"^/[!-~]+$")
    test_header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]+$")


class SizeRecord(Record):
    kind: Literal[
        "free", "list", "aspect", "aspect_tier", "list_or_aspect", "free_or_preset", "aspect_or_free", "input"
    ]
    sizes: tuple[SizeText, ...] = ()
    aspects: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    multiple: int = Field(1, ge=1)
    min_edge: int = Field(1, ge=1)
    max_edge: int = Field(16_384, ge=1)
    max_ratio: float | None = None
    min_pixels: int = Field(1, ge=1)
    max_pixels: int | None = None


class MegapixelUsd(Record):
    first: Usd
    extra: Usd
    round_up: bool = False


class MegapixelTokens(Record):
    first: Tokens
    extra: Tokens
    round_up: bool = False
    minimum: Tokens = 0


class CostRecord(Record):
    usd: Annotated[Usd | dict[str, Usd | dict[str, Usd]] | None, BeforeValidator(check_grid)] = None
    megapixel_usd: MegapixelUsd | None = None
    estimate: bool = False
    million_tokens_usd: dict[str, Usd] | None = None
    input_megapixel_usd: Usd | None = None
    input_image_usd: Usd | None = None
    partial_usd: Usd | None = None
    source: str = "the operator's catalogue file"
    date: Day | None = None
    confidence: str | None = None


class PriceRecord(Record):
    tokens: Annotated[Tokens | dict[str, Tokens | dict[str, Tokens]] | None, BeforeValidator(check_grid)] = (
        None
    )
    megapixel_tokens: MegapixelTokens | None = None
    partial_tokens: Tokens | None = None
    source: str = "the operator's catalogue file"
    date: Day | None = None


class OfferingRecord(Record):
    provider: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    model: str = Field(min_length=1, max_length=200)
    size: SizeRecord = SizeRecord(kind="free")
    max_n: int = Field(1, ge=1, le=100)
    qualities: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    features: dict[str, Any] = {}
    passes: frozenset[str] = frozenset()
    reports_usage: bool = False
    rank: Rank = None
    weight: Weight = None
    fallback_on_ambiguous: bool = False
    cost: CostRecord | None = None

    def to_offering(self) -> Offering:
        return Offering(
            provider=self.provider,
            upstream_model=self.model,
            sizes=SizeRule(**{name: getattr(self.size, name) for name in SizeRecord.model_fields}),
            max_n=self.max_n,
            qualities=self.qualities,
            formats=self.formats,
            features=self.features,
            passes=self.passes,
            reports_usage=self.reports_usage,
            cost=self.cost.model_dump(exclude_none=True) if self.cost else None,
            sells_as=frozenset({self.provider}),
            rank=self.rank,
            weight=self.weight,
            fallback_on_ambiguous=self.fallback_on_ambiguous,
        )


class ModelRecord(Record):
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*/[A-Za-z0-9][\w.-]*$", max_length=100)
    created: Day = "1970-01-01"
    aliases: tuple[str, ...] = ()
    operations: tuple[str, ...] = ("generate",)
    sizes: tuple[SizeText, ...] = (Size(1024, 1024),)
    qualities: tuple[str, ...] = ()
    default_quality: str | None = None
    quality_tiers: dict[str, str] = {}
    default_size: SizeText | None = None
    max_prompt_chars: int | None = Field(None, ge=1)
    shutdown_date: Day | None = None
    successor: str | None = None
    sold_as: dict[str, str] = {}
    rank: Rank = None
    weight: Weight = None
    offerings: tuple[OfferingRecord, ...] = ()

    @field_validator("offerings")
    @classmethod
    def once_each(cls, offerings: tuple[OfferingRecord, ...]) -> tuple[OfferingRecord, ...]:
        if len({o.provider for o in offerings}) != len(offerings):
            raise ValueError("names a provider twice")
        return offerings

    @property
    def usual_size(self) -> Size:
        square = Size(1024, 1024)
        return self.default_size or (square if square in self.sizes or not self.sizes else self.sizes[0])

    @property
    def usual_quality(self) -> str | None:
        middling = "medium" if "medium" in self.qualities else next(iter(self.qualities), None)
        return self.default_quality or middling

    def over(self, below: "ModelRecord") -> "ModelRecord":
        """This record's fields over those of `below`; an offering replaces the one of the same provider."""
        offerings = {o.provider: o for o in (*below.offerings, *self.offerings)}
        said = {name: getattr(self, name) for name in self.model_fields_set}
        return below.model_copy(update={**said, "offerings": tuple(offerings.values())})

    def to_model(self) -> Model:
        return Model(
            id=self.id,
            creator=self.id.partition("/")[0],
            created=int(datetime.fromisoformat(self.created).replace(tzinfo=UTC).timestamp()),
            offerings=tuple(o.to_offering() for o in self.offerings),
            aliases=self.aliases,
            sizes=self.sizes,
            qualities=self.qualities,
            default_size=self.usual_size,
            default_quality=self.usual_quality,
            quality_tiers=self.quality_tiers,
            max_prompt_chars=self.max_prompt_chars,
            operations=self.operations,
            shutdown_date=self.shutdown_date,
            successor=self.successor,
            rank=self.rank,
            weight=self.weight,
        )


class Document(Record):
    providers: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ProviderRecord] = {}
    creators: dict[str, str] = {}
    models: tuple[ModelRecord, ...] = ()
    prices: dict[str, PriceRecord] = {}

    @field_validator("models")
    @classmethod
    def named_once(cls, models: tuple[ModelRecord, ...]) -> tuple[ModelRecord, ...]:
        twice = [id_ for id_, count in Counter(m.id for m in models).items() if count > 1]
        if twice:
            raise ValueError(f"names {', '.join(twice)} twice")
        return models


def read_documents(extra_file: Path | None) -> tuple[dict[str, Provider], dict[str, Entry]]:
    """Providers by name, entries by model id, in order. Raises OperatorError naming file and fault."""
    merged = read_packaged()
    if extra_file is not None:
        merged = merge(merged, check(str(extra_file), read_file(extra_file)))
        check_whole(str(extra_file), merged)
    providers = {n: Provider(name=n, **p.model_dump()) for n, p in merged.providers.items()}
    return providers, {m.id: to_entry(m, merged) for m in merged.models}


@cache
def read_packaged() -> Document:
    """The three files as one. Read once: they do not change while a process runs, and are most of a quick start."""
    here = files("imagegate.catalogue")
    first, *others = (check(name, here.joinpath(name).read_bytes()) for name in PACKAGED)
    merged = reduce(merge, others, first)
    check_whole("the packaged catalogue", merged)
    return merged


def read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise OperatorError(f"The catalogue file {path} is larger than {MAX_FILE_BYTES} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(f"The catalogue file {path} cannot be read: {error.strerror}.") from None


def check(name: str, content: bytes) -> Document:
    try:
        return Document.model_validate(yaml.load(content, Loader) or {})  # noqa: S506  (it is a safe loader)
    except yaml.YAMLError as error:
        raise OperatorError(f"The catalogue file {name} is not YAML: {error}") from None
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()[:10]]
        raise OperatorError(f"The catalogue file {name} is not valid:\n" + "\n".join(faults)) from None


def merge(below: Document, above: Document) -> Document:
    models = {m.id: m for m in below.models}
    for model in above.models:
        models[model.id] = model.over(models[model.id]) if model.id in models else model
    return Document.model_construct(
        providers={**below.providers, **above.providers},
        creators={**below.creators, **above.creators},
        models=tuple(models.values()),
        prices={**below.prices, **above.prices},
    )


def check_whole(name: str, document: Document) -> None:
    """What no single record shows: successors that exist and end somewhere, prices of models that exist."""
    models = {m.id: m for m in document.models}
    faults = [f"  prices: {id_} is no model" for id_ in document.prices if id_ not in models]
    faults += [f"  models: {fault}" for m in document.models for fault in faults_of(m, models)]
    if faults:
        raise OperatorError(f"The catalogue file {name} is not valid:\n" + "\n".join(faults[:10]))


def faults_of(model: ModelRecord, models: Mapping[str, ModelRecord]) -> Sequence[str]:
    faults = []
    if model.default_quality and model.default_quality not in model.qualities:
        faults.append(f"{model.id} has a default_quality that is not among its qualities")
    if model.default_size and model.default_size not in model.sizes:
        faults.append(f"{model.id} has a default_size that is not among its sizes")
    seen = {model.id}
    while not model.offerings:
        if not model.successor or model.successor not in models or model.successor in seen:
            return [*faults, f"{model.id} has neither an offering nor a successor that has one"]
        seen.add(model.successor)
        model = models[model.successor]
    return faults


def to_entry(record: ModelRecord, document: Document) -> Entry:
    model = record.to_model()
    price = document.prices.get(record.id)
    return Entry(
        model=model,
        list_provider=document.creators.get(model.creator),
        sold_as=record.sold_as,
        price=price.model_dump(exclude_none=True) if price else None,
    )
