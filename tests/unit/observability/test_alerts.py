import re

import pytest

from unit.observability.repository import LOCAL_RULES, OBSERVABILITY, RULES, RUNBOOKS, alerts, load

ALERTS = alerts()
SEVERITIES = {"critical", "warning", "info", "none"}
SECTIONS = ["What it means", "Look here", "Mend it"]


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_was_measured_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")
    assert rule["annotations"].keys() == {"summary", "runbook_url"}
    # Nothing but the sign of life is about nothing.
    if name not in ("IrisWatchdog", "IrisOperatorDown"):
        assert "{{" in rule["annotations"]["summary"]


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_says_what_it_means_where_to_look_and_how_to_mend_it(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n\nSeverity: {ALERTS[name]['labels']['severity']}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert re.search(r"```(sh|promql)\n\S", page)
    assert [link for link in re.findall(r"\]\((\w+)\.md\)", page) if link not in ALERTS] == []


def test_the_rules_of_the_local_cluster_have_the_same_expressions_and_only_less_patience() -> None:
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


def test_what_silences_an_alert_is_an_alert_itself() -> None:
    config = load(OBSERVABILITY / "alertmanager" / "alertmanager.yml")
    named = [
        name
        for rule in config["inhibit_rules"]
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]
        for name in re.findall(r"Iris\w+", matcher)
    ]
    assert len(named) > 10
    assert set(named) <= set(ALERTS)
