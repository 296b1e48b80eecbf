import re

import pytest

from support.observability.repository import LOCAL_RULES, OBSERVABILITY, RULES, RUNBOOKS, alerts, load

ALERTS = alerts()
SEVERITIES = {"critical", "warning", "info", "none"}
SECTIONS = ["What it means", "Look here", "Mend it"]


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_severity_a_measured_value_and_a_runbook_link(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")
    assert rule["annotations"].keys() == {"summary", "runbook_url"}
    # Nothing but the sign of life is about nothing.
    if name not in ("IrisWatchdog", "IrisOperatorDown"):
        assert "{{" in rule["annotations"]["summary"]


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_has_meaning_diagnosis_and_remedy(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n\nSeverity: {ALERTS[name]['labels']['severity']}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert re.search(r"```(sh|promql)\n\S", page)
    assert [link for link in re.findall(r"\]\((\w+)\.md\)", page) if link not in ALERTS] == []


def test_the_rules_of_the_local_cluster_differ_only_in_their_durations() -> None:
    assert sorted(path.name for path in LOCAL_RULES.iterdir()) == [path.name for path in RULES]
    for path in RULES:
        base, local = (
            [rule for group in load(folder / path.name)["groups"] for rule in group["rules"]]
            for folder in (path.parent, LOCAL_RULES)
        )
        for rule, hasty in zip(base, local, strict=True):
            assert {**rule, "for": None} == {**hasty, "for": None}
            assert ("for" in rule) == ("for" in hasty)


def test_the_object_for_the_prometheus_operator_has_exactly_the_groups_of_the_rule_files() -> None:
    made = load(OBSERVABILITY / "prometheus-operator" / "rules.yaml")
    assert (made["kind"], made["metadata"]["namespace"]) == ("PrometheusRule", "iris-system")
    assert made["spec"]["groups"] == [group for path in RULES for group in load(path)["groups"]]


def test_inhibiting_alerts_exist() -> None:
    config = load(OBSERVABILITY / "alertmanager" / "alertmanager.yml")
    named = [
        name
        for rule in config["inhibit_rules"]
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]
        for name in re.findall(r"Iris\w+", matcher)
    ]
    assert len(named) > 10
    assert set(named) <= set(ALERTS)
