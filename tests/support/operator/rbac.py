"""The rights that an installation gives the operator."""

from __future__ import annotations

from pathlib import Path

import yaml

from support.servers.kubernetes import Right

_FOLDER = Path(__file__).resolve().parents[3] / "deploy/base/operator"
RBAC = _FOLDER / "rbac.yaml"
LEASE = _FOLDER / "lease.yaml"
FENCING = _FOLDER / "fencing.yaml"


def granted(file: Path = RBAC) -> set[Right]:
    """The rules of the operator's Role in a file, one right each."""
    (role,) = (item for item in yaml.safe_load_all(file.read_text()) if item["kind"] == "Role")
    return {
        Right(verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
