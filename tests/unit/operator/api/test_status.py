"""The status as JSON that the API server takes."""

from __future__ import annotations

import json
import math

import pytest

from iris_operator.api.status import AnalysisStatus, CheckStatus, Evidence, ReleaseStatus


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_does_not_have_are_left_out(number: float) -> None:
    evidence = Evidence(worse=number, good=2.0)
    check = CheckStatus(name="m", verdict="Pass", reason="inf", canary=number, stable=0.5, evidence=evidence)
    status = ReleaseStatus(analysis=AnalysisStatus(checks=[check]))
    stored = status.to_json()
    json.dumps(stored, allow_nan=False)
    (found,) = stored["analysis"]["checks"]
    assert "canary" not in found
    assert (found["stable"], found["reason"]) == (0.5, "inf")
    assert "worse" not in found["evidence"]
    assert ReleaseStatus.model_validate(stored).analysis is not None


def test_a_count_beyond_64_bits_is_left_out() -> None:
    check = CheckStatus(name="m", verdict="Error", reason="impossible", requests=10**30)
    assert "requests" not in ReleaseStatus(analysis=AnalysisStatus(checks=[check])).to_json()["analysis"]["checks"][0]
