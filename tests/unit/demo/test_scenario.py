from __future__ import annotations

import pytest

from iris_demo.scenario import RELEASES, chosen, interval_seconds, manifest

VERSIONS = [release.version for release in RELEASES]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_release_is_a_change_of_the_model_and_of_nothing_else(version: str) -> None:
    first, this = manifest("1.0.0"), manifest(version)
    assert this["spec"].pop("model") == {
        "name": "iris",
        "version": version,
        "image": f"localhost/iris-inference:{version}",
    }
    first["spec"].pop("model")
    assert this == first


def test_all_run_in_order_unless_some_are_chosen() -> None:
    assert [release.version for release in chosen([])] == VERSIONS
    assert [release.version for release in chosen(["4.0.0", "2.0.0"])] == ["1.0.0", "2.0.0", "4.0.0"]


def test_an_unknown_release_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"9\.9\.9"):
        chosen(["9.9.9"])


def test_the_interval_is_in_seconds() -> None:
    assert interval_seconds(manifest("1.0.0")) == 5.0
