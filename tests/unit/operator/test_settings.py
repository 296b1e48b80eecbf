from __future__ import annotations

import pytest

from iris_operator.settings import InvalidSettingError, from_environment

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
    ],
)
def test_an_invalid_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSettingError, match=name):
        from_environment({**GOOD, name: value})
