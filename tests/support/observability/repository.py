"""The files of deploy/observability as the tests read them."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
OBSERVABILITY = ROOT / "deploy" / "observability"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES = sorted(path for path in (OBSERVABILITY / "rules").glob("*.yaml") if path.name != "kustomization.yaml")
LOCAL_RULES = ROOT / "deploy" / "overlays" / "local" / "rules"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def groups() -> list[dict[str, Any]]:
    return [group for path in RULES for group in load(path)["groups"]]


def alerts() -> dict[str, dict[str, Any]]:
    found = [rule for group in groups() for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in found}) == len(found), "two alerts have one name"
    return {rule["alert"]: rule for rule in found}
