from __future__ import annotations

import pytest

from iris_demo.scenario import FILES, LOUD, SILENT, Act, interval_seconds


def versions(act: Act) -> list[str]:
    return [release.version for release in act.releases]


@pytest.mark.parametrize(("act", "version"), FILES)
def test_a_release_is_a_change_of_the_model_and_of_nothing_else(act: Act, version: str) -> None:
    first, this = act.manifest(versions(act)[0]), act.manifest(version)
    assert this["spec"].pop("model") == {
        "name": "iris",
        "version": version,
        "image": f"localhost/iris-inference:{version}",
    }
    first["spec"].pop("model")
    if version == "9.0.0":  # what is a fifth slower needs a margin in which a fifth is much
        assert this["spec"]["analysis"]["checks"].pop("latency") == {"maxSlower": 1.15}
        first["spec"]["analysis"]["checks"].pop("latency")
    assert this == first


def test_all_run_in_order_unless_some_are_chosen() -> None:
    assert [release.version for release in LOUD.chosen([])] == versions(LOUD)
    assert [release.version for release in LOUD.chosen(["4.0.0", "2.0.0"])] == ["1.0.0", "2.0.0", "4.0.0"]
    assert [release.version for release in SILENT.chosen(["9.0.0"])] == ["6.0.0", "9.0.0"]


def test_an_unknown_release_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"9\.9\.9"):
        LOUD.chosen(["9.9.9"])


def test_the_interval_is_in_seconds() -> None:
    assert interval_seconds(LOUD.manifest("1.0.0")) == 5.0
