from __future__ import annotations

import pytest

from iris_operator.settings import InvalidSettingError, LeaderElection, from_environment

GOOD = {"IRIS_NAMESPACES": "iris, other", "IRIS_PROMETHEUS_URL": "http://prometheus:9090"}


def test_namespaces_are_a_list_and_the_rest_has_defaults() -> None:
    settings = from_environment(GOOD)
    assert settings.namespaces == ("iris", "other")
    assert settings.log_level == "INFO"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IRIS_NAMESPACES", " , "),
        ("IRIS_PROMETHEUS_URL", "prometheus:9090"),
        ("IRIS_LOG_LEVEL", "loud"),
        ("IRIS_METRICS_LAG_SECONDS", "soon"),
        ("IRIS_METRICS_MAX_AGE_SECONDS", "0"),
        ("IRIS_LEADER_ELECTION", "maybe"),
        # Without saying which Pod it is.
        ("IRIS_LEADER_ELECTION", "on"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_an_invalid_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSettingError, match="IRIS_POD_NAME" if value in ("on", "10.0.0.1") else name):
        from_environment({**GOOD, name: value})


POD = {"IRIS_POD_NAMESPACE": "iris-system", "IRIS_POD_NAME": "iris-operator-1", "IRIS_POD_UID": "a-b"}


def test_operators_in_a_cluster_elect_a_leader_unless_they_are_told_not_to() -> None:
    in_cluster = {**GOOD, **POD, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    election = from_environment(in_cluster).leader_election
    assert election == LeaderElection("iris-system", "iris-operator-1", "a-b", "iris-operator")
    assert election.identity == "iris-operator-1_a-b"
    assert from_environment({**in_cluster, "IRIS_LEADER_ELECTION": "off"}).leader_election is None


def test_an_operator_on_a_laptop_is_alone() -> None:
    assert from_environment(GOOD).leader_election is None
    assert from_environment({**GOOD, **POD, "IRIS_LEADER_ELECTION": "on"}).leader_election is not None
