"""The CRD in the repository is the one that the types generate."""

from __future__ import annotations

from pathlib import Path

from iris_operator.api.crd import render

CRD = Path(__file__).resolve().parents[4] / "crds" / "irismodelreleases.yaml"


def test_the_stored_crd_is_the_generated_one() -> None:
    assert CRD.read_text() == render(), "types and crds/ differ: run `make crds` and look at the difference"
