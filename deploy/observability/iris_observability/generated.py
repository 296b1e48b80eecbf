"""The generated files: dashboards as JSON, the rules for the Prometheus Operator, the rules for the local cluster."""

from __future__ import annotations

from pathlib import Path

from iris_observability import rules
from iris_observability.dashboards import boards

ROOT = Path(__file__).resolve().parents[3]
OBSERVABILITY = ROOT / "deploy" / "observability"
DASHBOARDS = OBSERVABILITY / "grafana" / "dashboards"
LOCAL_RULES = ROOT / "deploy" / "overlays" / "local" / "rules"
PROMETHEUS_RULE = OBSERVABILITY / "prometheus-operator" / "rules.yaml"


def files() -> dict[Path, str]:
    """Every generated file with its text."""
    sources = rules.read_rule_files(OBSERVABILITY / "rules")
    return {
        **{DASHBOARDS / f"{name}.json": text for name, text in boards.as_json().items()},
        **{LOCAL_RULES / name: rules.for_local_cluster(text) for name, text in sources.items()},
        PROMETHEUS_RULE: rules.as_prometheus_rule(sources.values()),
    }


def outdated() -> list[Path]:
    """Files that differ from what would be generated, including those that would no longer be."""
    expected = files()
    existing = {*DASHBOARDS.glob("*.json"), *LOCAL_RULES.glob("*.yaml")}
    stale = [path for path in existing if path not in expected]
    return sorted([*stale, *(path for path, text in expected.items() if not path.exists() or path.read_text() != text)])


def write() -> None:
    """Write what differs and remove what is no longer generated."""
    expected = files()
    for path in outdated():
        if path in expected:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(expected[path])
        else:
            path.unlink()
