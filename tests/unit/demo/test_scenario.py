from __future__ import annotations

import pytest

from iris_demo.scenario import FILES, LOUD, SILENT, DemoScenario, interval_seconds
from iris_local import catalog

# A release of the same image under another version.
IDENTICAL_TO = {"6.0.1": "6.0.0"}


def versions(scenario: DemoScenario) -> list[str]:
    return [release.version for release in scenario.releases]


@pytest.mark.parametrize(("scenario", "version"), FILES)
def test_a_release_changes_the_model_and_only_what_its_file_says_beside_it(
    scenario: DemoScenario, version: str
) -> None:
    first, this = scenario.manifest(versions(scenario)[0])["spec"], scenario.manifest(version)["spec"]
    image = IDENTICAL_TO.get(version, version)
    assert this.pop("model") == {"name": "iris", "version": version, "image": f"localhost/iris-inference:{image}"}
    first.pop("model")
    if version in IDENTICAL_TO:
        assert this["serving"]["env"].pop() == {"name": "DEMO_IDENTICAL", "value": "1"}
    if version == "8.0.0":
        assert this.pop("analysis") == {"checks": {"accuracy": {}}}
    if version == "6.2.0":
        assert this["rollout"].pop("warmUp") == "30s"
        first["rollout"].pop("warmUp")
    assert this == first


@pytest.mark.parametrize(("scenario", "version"), FILES)
def test_no_release_has_margins_of_its_own(scenario: DemoScenario, version: str) -> None:
    analysis = scenario.manifest(version)["spec"].get("analysis", {})
    assert analysis.keys() <= {"checks"}
    assert not any(analysis.get("checks", {}).values())


def test_every_image_of_a_release_is_built() -> None:
    built = {image.name for image in catalog.project_images()}
    assert {scenario.manifest(version)["spec"]["model"]["image"] for scenario, version in FILES} <= built


def test_all_releases_run_in_order_unless_some_are_selected() -> None:
    assert [release.version for release in LOUD.select([])] == versions(LOUD)
    assert [release.version for release in LOUD.select(["4.0.0", "2.0.0"])] == ["1.0.0", "2.0.0", "4.0.0"]
    assert [release.version for release in SILENT.select(["9.0.0"])] == ["6.0.0", "9.0.0"]


def test_an_unknown_release_is_rejected_by_name() -> None:
    with pytest.raises(ValueError, match=r"9\.9\.9"):
        LOUD.select(["9.9.9"])


def test_the_interval_is_in_seconds() -> None:
    assert interval_seconds(LOUD.manifest("1.0.0")) == 5.0
