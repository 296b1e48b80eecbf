"""The operator's settings, from the environment. An invalid one stops the start with its name and a reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Number = TypeVar("Number", int, float)


class InvalidSettingError(Exception):
    """An environment variable that cannot be used."""


@dataclass(frozen=True)
class LeaderElection:
    """Which Lease the operators of an installation share, and this process's Pod: one Pod runs one operator."""

    namespace: str
    pod_name: str
    pod_uid: str
    lease_name: str = "iris-operator"

    @property
    def identity(self) -> str:
        """The holder that the Lease names; the admission policy compares it with the Pod that a request comes from."""
        return f"{self.pod_name}_{self.pod_uid}"


@dataclass(frozen=True)
class Settings:
    """All settings. Durations are in seconds."""

    namespaces: tuple[str, ...]
    prometheus_url: str
    log_level: str = "INFO"
    health_port: int = 8080
    metrics_port: int = 9100
    # How long a pod may be ready before it has been scraped: two scrape intervals of the base's Prometheus.
    metrics_lag: float = 10.0
    metrics_timeout: float = 5.0
    # How far back the first sample of an increase is searched, and how old a ready pod's newest sample may be.
    metrics_look_back: float = 30.0
    metrics_max_age: float = 30.0
    # None: nobody starts a second operator.
    leader_election: LeaderElection | None = None


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in `IRIS_*` variables.

    Raises:
        InvalidSettingError: one is missing or invalid; the message names it.
    """
    env = os.environ if environment is None else environment
    namespaces = tuple(part.strip() for part in env.get("IRIS_NAMESPACES", "").split(",") if part.strip())
    if not namespaces:
        raise InvalidSettingError("IRIS_NAMESPACES is empty: name the namespaces to watch, separated by commas")
    url = env.get("IRIS_PROMETHEUS_URL", "")
    if not url.startswith(("http://", "https://")):
        raise InvalidSettingError(f"IRIS_PROMETHEUS_URL must be an http(s) address of Prometheus, got {url!r}")
    level = env.get("IRIS_LOG_LEVEL", "INFO").upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise InvalidSettingError(f"IRIS_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, got {level!r}")
    return Settings(
        namespaces=namespaces,
        prometheus_url=url,
        log_level=level,
        health_port=_number(env, "IRIS_HEALTH_PORT", Settings.health_port, int),
        metrics_port=_number(env, "IRIS_METRICS_PORT", Settings.metrics_port, int),
        metrics_lag=_number(env, "IRIS_METRICS_LAG_SECONDS", Settings.metrics_lag, float),
        metrics_timeout=_number(env, "IRIS_METRICS_TIMEOUT_SECONDS", Settings.metrics_timeout, float),
        metrics_look_back=_number(env, "IRIS_METRICS_LOOK_BACK_SECONDS", Settings.metrics_look_back, float),
        metrics_max_age=_number(env, "IRIS_METRICS_MAX_AGE_SECONDS", Settings.metrics_max_age, float),
        leader_election=_leader_election(env),
    )


def _leader_election(env: Mapping[str, str]) -> LeaderElection | None:
    in_cluster = "KUBERNETES_SERVICE_HOST" in env
    switch = env.get("IRIS_LEADER_ELECTION", "on" if in_cluster else "off")
    if switch not in ("on", "off"):
        raise InvalidSettingError(f"IRIS_LEADER_ELECTION must be on or off, got {switch!r}")
    if switch == "off":
        return None
    pod = {name: env.get(name, "") for name in ("IRIS_POD_NAMESPACE", "IRIS_POD_NAME", "IRIS_POD_UID")}
    missing = [name for name, value in pod.items() if not value]
    if missing:
        raise InvalidSettingError(
            f"{', '.join(missing)} must name this Pod, as deploy/base/operator/deployment.yaml does, "
            "or IRIS_LEADER_ELECTION must be off, with one operator only"
        )
    return LeaderElection(
        namespace=pod["IRIS_POD_NAMESPACE"],
        pod_name=pod["IRIS_POD_NAME"],
        pod_uid=pod["IRIS_POD_UID"],
        lease_name=env.get("IRIS_LEASE_NAME", LeaderElection.lease_name),
    )


def _number(env: Mapping[str, str], name: str, default: Number, kind: Callable[[str], Number]) -> Number:
    try:
        value = kind(env[name]) if name in env else default
    except ValueError as error:
        raise InvalidSettingError(f"{name} must be a number, got {env[name]!r}") from error
    if value <= 0:
        raise InvalidSettingError(f"{name} must be above 0, got {value}")
    return value
