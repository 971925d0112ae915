"""Every setting once. Environment variables carry the prefix IMAGEGATE_; a `.env` file is read beneath them.

Settings are built by the command line and the app factory, never at import. Units end the names.
"""

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from imagegate.settings.providers import PREFIX, ProviderSettings

RoutingPolicy = Literal["catalogue", "cheapest", "fastest", "best", "balanced"]


def default_data_dir() -> Path:
    """`/var/lib/imagegate` for root, else `~/.local/share/imagegate`."""
    return Path("/var/lib/imagegate") if os.geteuid() == 0 else Path.home() / ".local/share/imagegate"


class Settings(BaseSettings):
    """Built by `load_settings`. Every field is `IMAGEGATE_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    secret: SecretStr | None = Field(
        None, description="The one master secret, at least 32 bytes. Embedded mode makes one."
    )
    secret_previous: SecretStr | None = Field(
        None, description="The master secret before `imagegate secret rotate`; accepted while it is set."
    )
    data_dir: Path = Field(
        default_factory=default_data_dir, description="Database, images and secret of embedded mode."
    )
    database_url: SecretStr | None = Field(
        None, description="postgresql://… of a PostgreSQL 15 to 18. Absent: the embedded one."
    )
    database_direct_url: SecretStr | None = Field(
        None, description="The owner's URL for migrations. Absent: database_url."
    )
    database_pool_size: int = Field(8, ge=2, le=100, description="Connections of one process.")
    database_pooler: bool = Field(
        False, description="true behind a transaction pooler: no prepared statements."
    )
    database_timeout_s: float = Field(
        5.0, gt=0, le=60, description="Longest wait for one statement or connection."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="redis://, rediss:// (redis+cluster:// …) or unix:// of limits that processes share.",
    )
    store_url: str | None = Field(
        None, description="s3://, gs:// or az:// bucket for images. Absent: the data directory."
    )
    public_url: str | None = Field(
        None, description="Base of links, e.g. https://images.example.com. Absent: the request's host."
    )
    trusted_proxies: str = Field(
        "", description="Addresses whose X-Forwarded-* headers are believed, comma-separated."
    )
    host: str = Field("127.0.0.1", description="Address `serve` and `demo` listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port `serve` and `demo` listen on.")
    poll_window_s: float = Field(
        82_800.0,
        ge=1,
        le=82_800,
        description="Longest time work that a provider has accepted is asked about.",
    )
    deadline_s: float = Field(300.0, ge=0.1, le=3600, description="Longest time one generation may take.")
    drain_s: float = Field(
        330.0, ge=0, le=7200, description="How long a stopping process waits for its generations."
    )
    worker_lease_s: float = Field(
        30.0, ge=3, le=600, description="A process silent for so long may be taken for dead."
    )
    heartbeat_s: float = Field(5.0, ge=1, le=100, description="How often a process renews its lease.")
    sweep_interval_s: float = Field(
        10.0, ge=1, le=600, description="How often what dead processes left is swept up."
    )
    link_ttl_s: int = Field(3600, ge=60, le=604_800, description="How long a media link is valid.")
    keep_images_h: int = Field(
        720,
        ge=24,
        le=876_000,
        description="How long images are kept, where the account has no time of its own.",
    )
    keep_prompts_h: int = Field(
        720,
        ge=24,
        le=876_000,
        description="How long prompts are kept, where the account has no time of its own.",
    )
    expiry_interval_s: float = Field(
        300.0, ge=1, le=86_400, description="How often expired images and prompts are removed."
    )
    max_body_bytes: int = Field(32 * 1024 * 1024, ge=1024, description="Largest request body.")
    max_upload_bytes: int = Field(
        66 * 1024 * 1024, ge=1024, description="Largest request body of an edit that is sent as a form."
    )
    body_timeout_s: float = Field(
        30.0, gt=0, le=600, description="Longest time a request body may take to arrive."
    )
    max_in_flight: int = Field(
        4096,
        ge=1,
        description="Generations one process works on at once; more are shed with 503. While others wait, one "
        "account has at most half of them.",
    )
    max_provider_calls: int = Field(
        0, ge=0, description="Calls of one process to one provider at once. 0 = half of max_in_flight."
    )
    max_held_bytes: int = Field(
        512 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory for bodies and pictures of callers in one process; more wait, then are shed with 503.",
    )
    shed_late_ms: float = Field(
        100.0,
        ge=1,
        le=60_000,
        description="New images are shed with 503 while the event loop stays later than this.",
    )
    header_timeout_s: float = Field(
        15.0, gt=0, le=600, description="Longest time the head of a request may take to arrive."
    )
    work_threads: int = Field(
        0, ge=0, le=256, description="Threads for decoding and encoding images. 0 = one per core, at least 2."
    )
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Currency shown to callers.")
    tokens_per_currency_unit: int = Field(
        1_000_000, ge=1, description="Tokens that one unit of the currency buys."
    )
    currency_per_usd: Decimal | None = Field(
        None, gt=0, description="Needed when the currency is not USD; used when prices are seeded."
    )
    markup_percent: Decimal = Field(
        Decimal(0), ge=0, le=10_000, description="Added to list prices when prices are seeded."
    )
    test_wallet_tokens: int = Field(
        100_000_000, ge=0, description="What a new account's test wallet starts with."
    )
    stream_ping_s: float = Field(
        15.0, gt=0, le=15, description="How often a stream without news says that it goes on."
    )
    keepalive_s: float = Field(
        15.0, gt=0, le=60, description="How often an answer sends white space, for keys that ask for it."
    )
    job_concurrency: int = Field(
        16, ge=0, le=4096, description="Async jobs one process works on at once; 0: it takes none."
    )
    job_poll_s: float = Field(
        1.0, gt=0, le=60, description="How often a process looks for jobs that others have accepted."
    )
    job_expires_s: float = Field(
        86_400.0, ge=60, le=86_400, description="How long a job may wait for its turn before it is given up."
    )
    jobs_waiting_max: int = Field(
        10_000, ge=1, description="Async jobs that may wait in one account's environment; more get 429."
    )
    webhook_allow_private: bool = Field(
        False, description="true: webhooks may go to private and loopback addresses, and by http."
    )
    webhook_timeout_s: float = Field(10.0, gt=0, le=60, description="Longest wait for a webhook's receiver.")
    webhook_concurrency: int = Field(16, ge=1, le=256, description="Webhooks one process delivers at once.")
    variations_model: str = Field(
        "openai/gpt-image-2.5-flare",
        description="The model that makes variations where none is named that can edit.",
    )
    own_key_fee_tokens: int = Field(
        0, ge=0, le=10**12, description="An image's price where the caller brings the provider's key."
    )
    default_model: str = Field(
        "sandbox", description="The model of requests that name none; auto:cheapest and the like choose one."
    )
    routing_policy: RoutingPolicy = Field(
        "catalogue", description="In which order providers are asked, where neither request nor key says it."
    )
    refusal_fallback: str = Field(
        "",
        description="Providers that may be asked after another one's moderation refused, comma-separated.",
    )
    billed_invalid_fallback: bool = Field(
        False,
        description="true: after an answer without a usable image, one call may go to the next provider.",
    )
    catalogue_file: Path | None = Field(
        None, description="A YAML file with further providers, models and prices."
    )
    moderation_policy: Literal["off", "flag", "block"] = Field(
        "block", description="off, flag or block: of accounts and keys that have no policy of moderation."
    )
    moderation_blocklist_file: Path | None = Field(
        None, description="A text file: a word, a phrase or re:PATTERN a line, looked for in prompts."
    )
    moderation_openai_key: SecretStr | None = Field(
        None,
        description="Key of OpenAI's moderation endpoint; with it, prompts and pictures are judged there.",
    )
    moderation_openai_url: str | None = Field(
        None, description="Base URL of an endpoint that copies it. Absent: https://api.openai.com/v1."
    )
    moderation_openai_model: str = Field("omni-moderation-latest", description="The model that judges.")
    moderation_openai_thresholds: str = Field(
        "",
        description="Least scores that count, as violence=0.8,sexual=0.5. Absent: the endpoint's own word.",
    )
    moderation_webhook_url: str | None = Field(
        None, description="A service of your own that judges prompts and pictures; it may be private."
    )
    moderation_webhook_secret: SecretStr | None = Field(
        None, description="whsec_ and base64: signs what is sent there, as Standard Webhooks says."
    )
    moderation_budget_s: float = Field(
        2.0, gt=0, le=30, description="Longest wait for all moderators together."
    )
    moderation_fail_open: bool = Field(
        False, description="true: what a moderator says nothing of passes. Else it is refused with 503."
    )
    moderation_output: bool = Field(False, description="true: images that were made are judged too.")
    console_sso_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="A header in which a trusted proxy names who is signed in to the console.",
    )
    console_sso_role: Literal["read", "write"] = Field(
        "read", description="read or write: what those may do whom the proxy names."
    )
    cdn_safe_status: bool = Field(
        False, description="true: 502 and 504 are sent as 424, for CDNs that replace their bodies."
    )
    log_level: str = Field(
        "INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged."
    )
    otel_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/]+",
        description="Where traces go: base URL of an OTLP receiver, as http://127.0.0.1:4318. Absent: nowhere.",
    )
    failpoint: str | None = Field(
        None, description="Tests only: name:action, where the process fails on purpose."
    )
    allow_failpoints: bool = Field(False, description="Tests only: without it a failpoint refuses the start.")

    providers: Mapping[str, ProviderSettings] = Field(default_factory=dict, exclude=True)

    @field_validator("public_url")
    @classmethod
    def without_slash(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/]+", value):
            raise ValueError("must begin with http:// or https:// and a host")
        return value.rstrip("/") if value else None

    @field_validator("default_model")
    @classmethod
    def says_who_is_chosen(cls, value: str) -> str:
        choosing = [f"auto:{name}" for name in get_args(RoutingPolicy) if name != "catalogue"]
        if value.partition(":")[0] == "auto" and value not in choosing:
            raise ValueError(f"{value} names no model; write the name of one, or {', '.join(choosing)}")
        return value

    @model_validator(mode="after")
    def consistent(self) -> "Settings":
        if self.currency != "USD" and self.currency_per_usd is None:
            raise ValueError(
                f"IMAGEGATE_CURRENCY_PER_USD is needed when IMAGEGATE_CURRENCY is {self.currency}"
            )
        if self.failpoint and not self.allow_failpoints:
            raise ValueError("IMAGEGATE_FAILPOINT is refused without IMAGEGATE_ALLOW_FAILPOINTS=1")
        if self.console_sso_header and self.trusted_proxies.strip() in ("", "*"):
            raise ValueError(
                "IMAGEGATE_CONSOLE_SSO_HEADER needs the proxies' addresses in IMAGEGATE_TRUSTED_PROXIES"
            )
        if self.max_held_bytes < 3 * max(self.max_body_bytes, self.max_upload_bytes):
            raise ValueError(
                "IMAGEGATE_MAX_HELD_BYTES must be three times IMAGEGATE_MAX_BODY_BYTES and IMAGEGATE_MAX_UPLOAD_BYTES"
            )
        if self.heartbeat_s * 2 > self.worker_lease_s:
            raise ValueError("IMAGEGATE_WORKER_LEASE_S must be at least twice IMAGEGATE_HEARTBEAT_S")
        return self

    @property
    def refusal_providers(self) -> frozenset[str]:
        return frozenset(name.strip() for name in self.refusal_fallback.split(",") if name.strip())

    @property
    def embedded(self) -> bool:
        return self.database_url is None

    def provider(self, name: str) -> ProviderSettings:
        return self.providers.get(name, ProviderSettings())
