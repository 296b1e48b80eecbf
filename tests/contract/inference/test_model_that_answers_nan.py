"""A model whose probabilities are not numbers: a defined error, counted where the analysis looks.

Seen to fail with the check for finite probabilities taken out of `Model`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput

from contract.inference.api import assert_problem
from contract.inference.serving import Serve
from unit.inference import graphs

SOUND, NAN = [1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    artifact = graphs.artifact(graphs.root())
    (tmp_path / "model.onnx").write_bytes(artifact.model)
    (tmp_path / "manifest.json").write_text(json.dumps(artifact.manifest.model_dump()))
    return tmp_path


def test_an_answer_that_is_no_number_is_an_error_and_is_counted(serve: Serve, model: Path) -> None:
    service = serve(model)
    assert service.predict(SOUND).status_code == 200
    for _ in range(2):
        problem = assert_problem(service.predict(NAN), 500)
        assert problem["type"] == "urn:iris-inference:inference-failed:non_finite"
    # One flower of a batch is enough: half an answer is none.
    assert_problem(service.predict(SOUND, NAN), 500)
    assert service.metric("model_inference_failures_total", reason="non_finite") == 3
    assert service.metric("inference_requests_total", code="500") == 3
    assert service.metric("inference_requests_total", code="200") == 1
    assert service.ready()


def test_the_other_protocol_answers_and_counts_alike(serve: Serve, model: Path) -> None:
    service = serve(model)
    tensor = InferInput("features", [1, 4], "FP32").set_data_from_numpy(np.array([NAN], dtype=np.float32))
    with (
        InferenceServerClient(f"127.0.0.1:{service.port}") as client,
        pytest.raises(InferenceServerException, match="non_finite"),
    ):
        client.infer("iris", [tensor])
    assert service.metric("model_inference_failures_total", reason="non_finite") == 1
    assert service.metric("inference_requests_total", code="500") == 1
