"""docs/gitops.md and deploy/gitops name what there is: files, annotations, the kind, and reasons of the operator."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from iris_operator.api import names

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "gitops.md").read_text()
ARGOCD = yaml.safe_load((ROOT / "deploy" / "gitops" / "argocd-cm.yaml").read_text())["data"]
KEY = f"{names.GROUP}_{names.KIND}"


def test_each_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []


def test_the_customization_is_for_this_kind_and_needs_no_library_that_argo_cd_leaves_out() -> None:
    assert ARGOCD.keys() == {f"resource.customizations.{part}.{KEY}" for part in ("health", "actions")}
    assert not re.search(r"\b(string|math|os|io)\.", "\n".join(ARGOCD.values()))


def test_the_document_lists_the_actions_and_the_operator_knows_their_annotations() -> None:
    actions = [each["name"] for each in yaml.safe_load(ARGOCD[f"resource.customizations.actions.{KEY}"])["definitions"]]
    table = "\n".join(line for line in TEXT.splitlines() if line.startswith("| `"))
    assert [name for name in actions if f"`{name}`" not in table] == []
    written = set(re.findall(r'annotations\["([^"]+)"\]', "\n".join(ARGOCD.values())))
    contract = {f"{names.GROUP}/{name}" for name in ("promote", "abort", "approved", "retry", "hold")}
    assert written == contract
    assert {names.ANNOTATION_APPROVED, names.ANNOTATION_RETRY} <= contract
