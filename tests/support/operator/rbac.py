"""The rights that an installation gives the operator."""

from __future__ import annotations

from pathlib import Path

import yaml

from support.servers.kubernetes import Right

RBAC = Path(__file__).resolve().parents[3] / "deploy/base/operator/rbac.yaml"


def granted() -> set[Right]:
    """The rules of the operator's Role, one right each."""
    (role,) = (item for item in yaml.safe_load_all(RBAC.read_text()) if item["kind"] == "Role")
    return {
        Right(verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
