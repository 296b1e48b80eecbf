"""A model whose probabilities are not numbers: a defined error, counted where the analysis looks.

Seen to fail with the check for finite probabilities taken out of `Model`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput

from iris_inference import metric_names
from support.inference import graphs
from support.inference.api import assert_problem
from support.inference.serving import Serve

SOUND, NAN = [1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    artifact = graphs.artifact(graphs.square_root())
    (tmp_path / "model.onnx").write_bytes(artifact.model)
    (tmp_path / "manifest.json").write_text(json.dumps(artifact.manifest.model_dump()))
    return tmp_path


def test_a_prediction_of_nan_is_an_error_and_is_counted(serve: Serve, model: Path) -> None:
    service = serve(model)
    assert service.predict(SOUND).status_code == 200
    for _ in range(2):
        problem = assert_problem(service.predict(NAN), 500)
        assert problem["type"] == "urn:iris-inference:inference-failed:non_finite"
    # One flower of a batch is enough: half an answer is none.
    assert_problem(service.predict(SOUND, NAN), 500)
    assert service.metric(metric_names.INFERENCE_FAILURES, reason="non_finite") == 3
    assert service.metric(metric_names.REQUESTS, code="500") == 3
    assert service.metric(metric_names.REQUESTS, code="200") == 1
    assert service.ready()


def test_the_inference_protocol_answers_and_counts_alike(serve: Serve, model: Path) -> None:
    service = serve(model)
    tensor = InferInput("features", [1, 4], "FP32").set_data_from_numpy(np.array([NAN], dtype=np.float32))
    with (
        InferenceServerClient(f"127.0.0.1:{service.port}") as client,
        pytest.raises(InferenceServerException, match="non_finite"),
    ):
        client.infer("iris", [tensor])
    assert service.metric(metric_names.INFERENCE_FAILURES, reason="non_finite") == 1
    assert service.metric(metric_names.REQUESTS, code="500") == 1
