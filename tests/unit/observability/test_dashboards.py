import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from iris_observability import generated
from support.observability.repository import OBSERVABILITY, load

GRAFANA = OBSERVABILITY / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
VARIABLES = {"__rate_interval", "__auto", "namespace", "release", "request"}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(request.param.read_text())
    assert loaded["uid"] == request.param.stem
    return loaded


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_code_generates() -> None:
    assert generated.outdated() == []


def test_a_file_that_was_edited_by_hand_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("DASHBOARDS", "LOCAL_RULES"):
        monkeypatch.setattr(generated, name, tmp_path / name)
    monkeypatch.setattr(generated, "PROMETHEUS_RULE", tmp_path / "rules.yaml")
    generated.write()
    assert generated.outdated() == []
    edited, foreign = tmp_path / "DASHBOARDS" / "iris-service.json", tmp_path / "DASHBOARDS" / "mine.json"
    edited.write_text(edited.read_text().replace("Iris: service", "Mine"))
    foreign.write_text("{}")
    assert generated.outdated() == [edited, foreign]
    generated.write()
    assert generated.outdated() == []


def test_there_is_one_for_each_subject() -> None:
    assert [path.stem.removeprefix("iris-") for path in FILES] == [
        "logs", "operator", "release", "resources", "service",
    ]  # fmt: skip


def test_panels_have_a_description_and_unique_titles(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    assert [panel["title"] for panel in panels(board) if not panel["description"].endswith(".")] == []


def test_panels_are_within_the_dashboard_and_do_not_overlap(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    assert [place for place in places if place["x"] + place["w"] > 24] == []
    for one, other in combinations(places, 2):
        across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
        assert not (across and down), (one, other)


def test_queries_use_variables_that_the_dashboard_has(board: dict[str, Any]) -> None:
    given = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__auto"}
    for panel in panels(board):
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"]))
            assert used <= given & VARIABLES, (panel["title"], used)
            assert target["datasource"]["uid"].strip("${}") in given


def test_the_release_dashboard_has_an_annotation_at_each_decision() -> None:
    board = json.loads((GRAFANA / "dashboards" / "iris-release.json").read_text())
    (marks,) = (a for a in board["annotations"]["list"] if not a.get("builtIn"))
    assert "iris_release_decisions_total" in marks["expr"]
    assert marks["enable"] is True


def test_grafana_gets_every_dashboard_in_its_providers_folder() -> None:
    maps = {made["name"]: made["files"] for made in load(GRAFANA / "kustomization.yaml")["configMapGenerator"]}
    assert maps["grafana-dashboards"] == [f"dashboards/{path.name}" for path in FILES]
    (provider,) = load(GRAFANA / "provider.yaml")["providers"]
    *_, deployment = yaml.safe_load_all((GRAFANA / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["dashboards"] == provider["options"]["path"]
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert set(volumes.values()) == set(maps)


def test_each_kind_of_query_has_a_source_of_that_kind() -> None:
    sources = {
        source["type"] for path in (GRAFANA / "datasources").glob("*.yaml") for source in load(path)["datasources"]
    }
    asked = {
        target["datasource"]["type"]
        for path in FILES
        for panel in panels(json.loads(path.read_text()))
        for target in panel["targets"]
    }
    assert asked == sources == {"prometheus", "loki"}
