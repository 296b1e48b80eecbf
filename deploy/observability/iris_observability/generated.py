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
    sources = rules.sources(OBSERVABILITY / "rules")
    return {
        **{DASHBOARDS / f"{name}.json": text for name, text in boards.as_json().items()},
        **{LOCAL_RULES / name: rules.for_local_cluster(text) for name, text in sources.items()},
        PROMETHEUS_RULE: rules.as_prometheus_rule(sources.values()),
    }


def differing() -> list[Path]:
    """Files that are not as they would be generated, those included that would no longer be."""
    wanted = files()
    there = {*DASHBOARDS.glob("*.json"), *LOCAL_RULES.glob("*.yaml")}
    stale = [path for path in there if path not in wanted]
    return sorted([*stale, *(path for path, text in wanted.items() if not path.exists() or path.read_text() != text)])


def write() -> None:
    """Write what differs and remove what is no longer generated."""
    wanted = files()
    for path in differing():
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
