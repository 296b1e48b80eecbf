"""The registry of checks against the types of the resource and what follows from it."""

from __future__ import annotations

import typing

import pytest

from iris_operator.analysis.check import CheckResult, Shape
from iris_operator.analysis.registry import (
    CUSTOM,
    EVIDENCE_CHECKS,
    REGISTRY,
    REPORTED,
    ROLLBACK_CAUSES,
    build_checks,
    rollback_cause,
    sort_results,
)
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import RESERVED_NAMES, Checks, EvidenceChecks
from iris_operator.cli.__main__ import main


def test_no_custom_check_can_have_the_name_of_another_check() -> None:
    assert set(RESERVED_NAMES) == {check.name for check in REGISTRY} - {CUSTOM.name}
    assert len(RESERVED_NAMES) == len(set(RESERVED_NAMES))


def test_each_evidence_check_has_its_settings_in_the_field_of_its_name() -> None:
    hints = typing.get_type_hints(EvidenceChecks)
    types = {field.alias: hints[name] for name, field in EvidenceChecks.model_fields.items()}
    own_field = [check for check in EVIDENCE_CHECKS if check.read is None]
    assert list(types) == [check.name for check in own_field]
    for check in own_field:
        assert types[check.name] in (check.settings, check.settings | None)


def test_built_checks_have_the_names_of_the_registry() -> None:
    objective = {"share": 0.99, "under": "250ms"}
    built = build_checks(Checks.model_validate({"accuracy": {}, "latency": {"objective": objective}}), Shape())
    assert [*built] == [check.name for check in EVIDENCE_CHECKS]
    assert [check.name for check in built.values()] == [*built]


def test_accuracy_is_off_unless_it_is_given() -> None:
    assert "accuracy" not in build_checks(Checks(), Shape())


def test_an_objective_is_off_unless_it_is_given() -> None:
    assert "latencyObjective" not in build_checks(Checks(), Shape())


@pytest.mark.parametrize("check", [check for check in EVIDENCE_CHECKS if not check.read], ids=lambda check: check.name)
def test_replay_has_an_option_for_every_margin(check: typing.Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--help"])
    text = capsys.readouterr().out
    assert check.margins
    assert all(f"--{margin.replace('_', '-')} " in text for margin in check.margins)


def test_the_causes_of_rollbacks_are_a_closed_set() -> None:
    assert {"ErrorRate", "InferenceFailures", "Latency", "PredictionDrift", "Accuracy"} < {*ROLLBACK_CAUSES}
    assert {rollback_cause(check.name) for check in EVIDENCE_CHECKS} == {*ROLLBACK_CAUSES} - {"Custom"}
    assert [rollback_cause(name) for name in ("errorRate", "cost", "custom")] == ["ErrorRate", "Custom", "Custom"]


def test_results_are_in_the_order_of_the_registry_and_custom_ones_in_that_of_the_spec() -> None:
    names = ["agreement", "zeta", "alpha", "accuracy", "trafficSplit", "errorRate", "copies", "featureDrift"]
    ordered = sort_results(CheckResult(name, Verdict.PASS, "") for name in names)
    assert [result.name for result in ordered] == [
        *("copies", "errorRate", "accuracy", "trafficSplit", "zeta", "alpha", "featureDrift", "agreement"),
    ]


def test_feature_drift_and_agreement_are_reported_only() -> None:
    assert {"featureDrift", "agreement"} == REPORTED
