"""What promtool says of the rules: they are well formed, and each alert fires when it should and only then."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.observability.repository import LOCAL_RULES, RULES, alerts, load
from support.servers.tools import component

CASES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([component("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    for folder in (RULES[0].parent, LOCAL_RULES):
        files = [folder / path.name for path in RULES]
        assert promtool("check", "rules", "--lint=all", "--lint-fatal", *files).count("SUCCESS") == len(RULES)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_only_when_they_should(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    firing: set[str] = set()
    quiet: set[str] = set()
    for path in CASES:
        for case in load(path)["tests"]:
            for looked_at in case["alert_rule_test"]:
                (firing if looked_at.get("exp_alerts") else quiet).add(looked_at["alertname"])
    # The sign of life is never quiet: that is what it is for.
    assert (firing, quiet | {"IrisWatchdog"}) == (set(alerts()), set(alerts()))


def test_the_cases_are_about_the_rules_that_are_installed() -> None:
    tested = [(path.parent / name).resolve() for path in CASES for name in load(path)["rule_files"]]
    assert sorted(tested) == RULES
