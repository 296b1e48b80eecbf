"""Configuration, from environment variables only. An invalid one stops the start with its name and the reason."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from iris_inference import public_keys
from iris_inference.public_keys import PublicKey

PREFIX: Final = "IRIS_"
# Close to each other: what happens between two bounds says nothing about the tail of the distribution.
LATENCY_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0),
)


class SettingsError(Exception):
    """One or more environment variables are wrong; the message has a line for each."""


def _url_with_scheme(*schemes: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in schemes:
            raise ValueError(f"the URL must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if parts.scheme != "unix" and not parts.hostname:
            raise ValueError("the URL names no host")
        return value

    return AfterValidator(check)


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


def _strictly_rising(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if not all(earlier < later for earlier, later in pairwise((0.0, *bounds, math.inf))):
        raise ValueError("must be rising numbers of seconds above 0, with commas between them")
    return bounds


# NoDecode: a comma-separated list, where pydantic-settings would expect JSON.
Bounds = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_split), AfterValidator(_strictly_rising)]
Port = Annotated[int, Field(ge=1, le=65_535)]
DatabaseUrl = Annotated[SecretStr, _url_with_scheme("postgresql+psycopg2", "postgresql")]
Kind = TypeVar("Kind", bound="DatabaseSettings")
RedisUrl = Annotated[SecretStr, _url_with_scheme("redis", "rediss", "unix")]


def _public_keys(value: str | None) -> tuple[PublicKey, ...] | None:
    return None if value is None else public_keys.parse(value)


# NoDecode: pydantic-settings would expect a list in JSON. An empty value is an error: a forgotten value must not
# disable the check.
PublicKeys = Annotated[tuple[PublicKey, ...] | None, NoDecode, BeforeValidator(_public_keys)]
LogFeatures = Literal["full", "hash", "off"]


class DatabaseSettings(BaseSettings):
    """What the commands that work on the database read. URLs are secrets: they hold passwords and are never printed."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    database_url: DatabaseUrl | None = Field(
        None, validation_alias="DATABASE_URL", description="PostgreSQL for keys and records; none: nothing is recorded"
    )
    schema_mode: Literal["migrate", "wait"] = Field(
        "migrate", description="make or update the tables at the start, or wait until somebody else has"
    )


class Settings(DatabaseSettings):
    """Every variable the service reads."""

    model_dir: Path = Field(Path("/model"), description="folder with model.onnx and manifest.json")
    # Several, so that a key can be replaced while models that the old one signed are still served.
    model_public_keys: PublicKeys = Field(
        None,
        description="Ed25519 keys, separated by commas, one of which must have signed the model; none: nobody need",
    )
    # All addresses: in a pod the kubelet, the proxy and Prometheus connect from outside of the network namespace.
    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104
    port: Port = Field(8000, description="port of the HTTP API")
    metrics_port: Port = Field(9100, description="port of /metrics, apart from the API")
    # Durations between two bounds cannot be distinguished, and each bound is one more series in every pod.
    latency_buckets: Bounds = Field(
        LATENCY_BUCKETS, description="bounds of the latency histograms, in seconds; the alerts ask for 0.25"
    )
    revision: str = Field("local", description="revision of the release that this pod belongs to")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="lowest level that is logged")
    # Not in full by default: features may be personal data, and logs are distributed further than databases.
    log_features: LogFeatures = Field(
        "hash", description="the features in a request's log line: as they are, as a keyed hash, or not at all"
    )
    log_hash_key: SecretStr | None = Field(
        None, description="key of the hash, the same in all pods to compare them; none: a new one at each start"
    )

    redis_url: RedisUrl | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="Redis for the cache and for rates over all pods; none: no cache, and each pod limits by itself",
    )

    auth: Literal["required", "off"] = Field(
        "required", validate_default=True, description="whether an API key is needed; off: everybody is served"
    )
    auth_refresh_seconds: float = Field(
        10.0, gt=0, le=300, description="how often the keys are read; a revoked one is refused after this time"
    )
    auth_stale_seconds: float = Field(
        3_600.0, gt=0, description="how long the last known keys are used while the database is away; then 503"
    )
    rate_sync_seconds: float = Field(
        0.1,
        gt=0,
        le=5,
        description="how often the pods settle through Redis what they used of each key's rate",
    )

    # The four below add up to less than the pod's 30 s of grace with 5 s of preStop.
    drain_seconds: float = Field(1.0, ge=0, le=60, description="how long to go on serving, unready, after SIGTERM")
    shutdown_seconds: int = Field(15, ge=1, le=300, description="longest wait for requests in flight")
    flush_seconds: float = Field(5.0, ge=0, le=60, description="longest wait for the last records to be written")
    # Above the 90 s after which proxies close an idle connection: the proxy must close first, or it sends a request
    # into a connection that is just being closed, and its client gets an error.
    keep_alive_seconds: int = Field(120, ge=1, le=3_600, description="how long an idle connection stays open")

    # Some seven kilobytes each.
    max_connections: int = Field(
        2_048, ge=1, le=65_536, description="connections at once; for more, those that are idle are closed, or 503"
    )
    head_seconds: float = Field(10.0, gt=0, le=300, description="longest time to wait for a request's headers")
    max_body_bytes: int = Field(256 * 1024, ge=1_024, le=64 * 1024 * 1024, description="largest accepted request body")
    body_seconds: float = Field(10.0, gt=0, le=300, description="longest time to wait for a request's body")

    # About half a kilobyte each.
    cache_entries: int = Field(10_000, ge=0, le=1_000_000, description="predictions kept in memory; 0: none")
    cache_ttl_seconds: int = Field(3_600, ge=1, description="how long Redis keeps a prediction")
    cache_timeout_seconds: float = Field(0.05, gt=0, le=5, description="longest wait for Redis in a request")
    record_buffer: int = Field(20_000, ge=1, description="predictions kept in memory without a spool")
    spool_dir: Path | None = Field(
        None, description="folder where predictions wait for PostgreSQL, kept across a restart; none: in memory"
    )
    # Below the 64 MiB of the pod's /tmp, beyond which the kubelet evicts the pod.
    spool_max_bytes: int = Field(
        48 * 1024 * 1024, ge=1024 * 1024, description="largest size of the spool; beyond, predictions answer 503"
    )
    spool_sync: bool = Field(
        default=False, description="wait for the disk before each answer: survives a crash of the machine as well"
    )
    record_batch: int = Field(2_000, ge=1, le=10_000, description="most predictions written in one statement")

    shadow_file: Path | None = Field(
        None, description="file with the revision that requests are mirrored to and their share; none: no mirroring"
    )
    # A mirrored request takes a tenth of a millisecond of the processor that also serves the users.
    shadow_rate: float = Field(
        200.0,
        ge=1,
        le=10_000,
        description="most mirrored requests a second, to all targets together; beyond, they are dropped",
    )
    shadow_queue: int = Field(1_000, ge=1, le=100_000, description="most instances that wait to be mirrored")
    shadow_timeout_seconds: float = Field(5.0, gt=0, le=60, description="longest wait for a mirrored request")

    @field_validator("auth")
    @classmethod
    def _keys_need_a_database(cls, value: str, info: ValidationInfo) -> str:
        # An invalid DATABASE_URL is not among the data, and has an error of its own.
        if value == "required" and info.data.get("database_url", "") is None:
            raise ValueError(
                "API keys are required (the default), and DATABASE_URL does not say which PostgreSQL has them; "
                "set DATABASE_URL, or IRIS_AUTH=off to serve everybody who can reach the port"
            )
        return value


def read_settings(kind: type[Kind]) -> Kind:
    """Read the environment. Raises SettingsError, whose text never holds a value: a value may be a password."""
    try:
        return kind()
    except ValidationError as error:
        wrong = [f"{_variable(str(problem['loc'][0]))}: {problem['msg']}" for problem in error.errors()]
        raise SettingsError("\n".join(wrong)) from None


def _variable(location: str) -> str:
    return location if location.isupper() else f"{PREFIX}{location.upper()}"
