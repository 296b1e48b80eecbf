"""The Open Inference Protocol as NVIDIA's own client speaks it: tritonclient from PyPI, as it is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

from iris_inference import metric_names
from support.inference.api import FLOWER, Api, assert_problem
from support.inference.models import Exported
from support.inference.serving import Serve

VIRGINICA = [6.3, 3.3, 6.0, 2.5]
INFER = "/v2/models/iris/infer"


@pytest.fixture
def client(good_service: Api) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(f"127.0.0.1:{good_service.port}") as client:
        yield client


def flowers(*rows: list[float], binary: bool = True) -> list[InferInput]:
    values = np.array(rows, dtype=np.float32)
    return [InferInput("features", list(values.shape), "FP32").set_data_from_numpy(values, binary_data=binary)]


def tensor(*rows: list[float], **changes: Any) -> dict[str, Any]:
    return {"name": "features", "shape": [len(rows), 4], "datatype": "FP32", "data": list(rows), **changes}


def of_v1(service: Api, *rows: list[float]) -> tuple[list[int], list[str], NDArray[np.float32]]:
    answered = service.predict(*rows).json()["predictions"]
    probabilities = np.array([list(one["probabilities"].values()) for one in answered], dtype=np.float32)
    return [one["class"] for one in answered], [one["label"] for one in answered], probabilities


def test_the_server_and_its_model_are_alive_and_ready(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "1.0.0")
    assert not client.is_model_ready("iris", "9.9.9")
    assert not client.is_model_ready("rose")


def test_the_metadata_names_the_tensors(client: InferenceServerClient) -> None:
    server = client.get_server_metadata()
    assert (server["name"], server["extensions"]) == ("iris-inference", ["binary_tensor_data"])
    model = client.get_model_metadata("iris", "1.0.0")
    assert model == client.get_model_metadata("iris")
    assert (model["name"], model["versions"], model["platform"]) == ("iris", ["1.0.0"], "onnxruntime_onnx")
    assert model["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]
    assert [(out["name"], out["datatype"], out["shape"]) for out in model["outputs"]] == [
        ("class", "INT64", [-1]),
        ("label", "BYTES", [-1]),
        ("probabilities", "FP32", [-1, 3]),
    ]


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary-in", "json-in"])
@pytest.mark.parametrize("binary_out", [None, True, False], ids=["default-out", "binary-out", "json-out"])
def test_both_protocols_give_the_same_answer(
    good_service: Api, client: InferenceServerClient, binary_in: bool, binary_out: bool | None
) -> None:
    names = ["probabilities", "label", "class"]
    wanted = None if binary_out is None else [InferRequestedOutput(name, binary_data=binary_out) for name in names]
    result = client.infer("iris", flowers(FLOWER, VIRGINICA, binary=binary_in), outputs=wanted)
    classes, labels, probabilities = of_v1(good_service, FLOWER, VIRGINICA)
    assert result.as_numpy("class").tolist() == classes == [0, 2]
    assert [_text(label) for label in result.as_numpy("label")] == labels
    np.testing.assert_array_equal(result.as_numpy("probabilities"), probabilities)


def test_only_requested_outputs_are_returned_each_in_its_own_form(client: InferenceServerClient) -> None:
    wanted = [InferRequestedOutput("label", binary_data=False), InferRequestedOutput("class", binary_data=True)]
    outputs = client.infer("iris", flowers(FLOWER), "1.0.0", outputs=wanted).get_response()["outputs"]
    assert outputs == [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["setosa"]},
        {"name": "class", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
    ]


def test_a_full_batch_comes_back_in_its_order(client: InferenceServerClient) -> None:
    result = client.infer("iris", flowers(*[FLOWER, VIRGINICA] * 128))
    assert result.as_numpy("class").tolist() == [0, 2] * 128


def test_many_requests_at_once_are_answered(good_service: Api) -> None:
    with InferenceServerClient(f"127.0.0.1:{good_service.port}", concurrency=4) as client:
        pending = [client.async_infer("iris", flowers(row)) for row in [FLOWER, VIRGINICA] * 20]
        assert [request.get_result().as_numpy("class").item() for request in pending] == [0, 2] * 20


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request_is_decompressed(client: InferenceServerClient, algorithm: str) -> None:
    result = client.infer("iris", flowers(VIRGINICA), request_compression_algorithm=algorithm)
    assert result.as_numpy("class").tolist() == [2]


def test_the_clients_id_and_the_request_id_are_returned(client: InferenceServerClient) -> None:
    answer = client.infer(
        "iris", flowers(FLOWER), request_id="mine/1", headers={"X-Request-ID": "order-7"}, parameters={"lane": "fast"}
    ).get_response()
    assert (answer["id"], answer["parameters"]) == ("mine/1", {"request_id": "order-7"})
    assert "id" not in client.infer("iris", flowers(FLOWER)).get_response()


@pytest.mark.parametrize(("model", "version"), [("rose", ""), ("iris", "9.9.9")])
def test_another_model_is_an_error_that_the_client_understands(
    client: InferenceServerClient, model: str, version: str
) -> None:
    with pytest.raises(InferenceServerException, match=r"this is 'iris' in version '1\.0\.0'") as refusal:
        client.infer(model, flowers(FLOWER), version)
    assert refusal.value.status() == "404"
    with pytest.raises(InferenceServerException, match="this is 'iris'"):
        client.get_model_metadata(model, version)


def test_an_unknown_path_is_an_error_that_the_client_understands(client: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="Not Found"):
        client.get_model_config("iris")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([[5.1, 3.5, 1.4]], "inputs.0.shape.1"),
        ([FLOWER] * 257, "inputs.0.shape.0"),
        ([[5.1, 3.5, float("nan"), 0.2]], "not finite"),
        ([[5.1, 3.5, float("inf"), 0.2]], "not finite"),
        ([[5.1, 3.5, -1e30, 0.2]], "beyond 1e"),
    ],
)
def test_a_wrong_tensor_is_refused_with_the_reason(
    client: InferenceServerClient, rows: list[list[float]], complaint: str
) -> None:
    with pytest.raises(InferenceServerException, match=complaint) as refusal:
        client.infer("iris", flowers(*rows))
    assert refusal.value.status() == "422"


def test_another_datatype_is_refused(client: InferenceServerClient) -> None:
    doubles = InferInput("features", [1, 4], "FP64").set_data_from_numpy(np.array([FLOWER]))
    with pytest.raises(InferenceServerException, match="'FP32'"):
        client.infer("iris", [doubles])


def test_unsupported_parameters_are_refused_and_not_ignored(client: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="classification"):
        client.infer("iris", flowers(FLOWER), outputs=[InferRequestedOutput("class", class_count=2)])
    shared = InferInput("features", [1, 4], "FP32").set_shared_memory("region", 16)
    with pytest.raises(InferenceServerException, match="shared_memory_region"):
        client.infer("iris", [shared])


@pytest.mark.parametrize("data", [FLOWER, [FLOWER]], ids=["flat", "rows"])
def test_a_tensor_in_json_is_flat_or_in_rows(good_service: Api, data: list[Any]) -> None:
    answer = good_service.client.post(INFER, json={"inputs": [tensor(FLOWER, data=data)]})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert [out["data"] for out in answer.json()["outputs"][:2]] == [[0], ["setosa"]]


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ([], "inputs"),
        ([tensor(FLOWER), tensor(FLOWER)], "inputs"),
        ([tensor(FLOWER, name="flowers")], "'features'"),
        ([tensor(FLOWER, shape=[2, 4])], "does not fit the 4 values"),
        ([tensor(FLOWER, shape=[1.5, 4])], "inputs.0.shape.0"),
        ([tensor(FLOWER, shape=[-1, 4])], "inputs.0.shape.0"),
        ([tensor(FLOWER, data=[5.1, 3.5, 1.4, "0.2"])], "inputs.0.data.3"),
        ([tensor(FLOWER, data=[5.1, 3.5, 1.4, 1e300])], "inputs.0.data.3"),
        ([tensor(FLOWER, data=[[5.1, 3.5], [1.4, 0.2]])], "inputs.0.data.0"),
        ([tensor(FLOWER, data=None)], "must say where the tensor is"),
        ([tensor(FLOWER, parameters={"binary_data_size": 16})], "promises 16 bytes"),
        ([tensor(FLOWER, colour="blue")], "inputs.0.colour"),
    ],
)
def test_an_invalid_request_is_refused_with_the_location(good_service: Api, inputs: list[Any], complaint: str) -> None:
    problem = assert_problem(good_service.client.post(INFER, json={"inputs": inputs}), 422)
    assert complaint in problem["detail"]
    assert problem["error"] == problem["detail"]


@pytest.mark.parametrize("length", ["-1", "1e1", "\u00b2", "", "999999", "9" * 5_000, "7"])
def test_a_wrong_length_of_the_json_is_refused(good_service: Api, length: str) -> None:
    answer = good_service.client.post(
        INFER,
        json={"inputs": [tensor(FLOWER)]},
        headers={b"Inference-Header-Content-Length": length.encode("latin-1")},
    )
    assert_problem(answer, 422)


@pytest.mark.parametrize("behind", [b"", b"\0" * 15, b"\0" * 17, b"\0" * 32])
def test_binary_data_of_another_size_than_declared_is_refused(good_service: Api, behind: bytes) -> None:
    head = b'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}'
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = good_service.client.post(INFER, content=head + behind, headers=headers)
    assert "promises 16 bytes" in assert_problem(answer, 422)["detail"]
    assert good_service.client.post(INFER, content=head + b"\0" * 16, headers=headers).status_code == 200


def test_a_failing_model_has_the_same_errors_as_under_v1(exported: Exported, serve: Serve) -> None:
    service = serve(exported("3.0.0"))
    with InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        assert client.is_model_ready("iris")
        with pytest.raises(InferenceServerException, match="feature_mismatch") as failure:
            client.infer("iris", flowers(FLOWER))
    assert failure.value.status() == "500"
    assert service.metric(metric_names.INFERENCE_FAILURES, reason="feature_mismatch") == 1
    assert service.metric(metric_names.REQUESTS, code="500") == 1


def test_inferences_are_counted_as_requests_and_nothing_else_is(exported: Exported, serve: Serve) -> None:
    service = serve(exported("1.0.0"))
    with InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        client.infer("iris", flowers(FLOWER, VIRGINICA))
        client.infer("iris", flowers(FLOWER), "1.0.0")
        with pytest.raises(InferenceServerException):
            client.infer("iris", flowers(FLOWER), "9.9.9")
        assert client.is_model_ready("iris")
        client.get_model_metadata("iris")
    assert service.metric(metric_names.REQUESTS, code="200") == 2
    assert service.metric(metric_names.REQUESTS, code="404") == 1
    assert sum(service.timed().values()) == 3
    assert service.metric(metric_names.PREDICTIONS, **{"class": "setosa"}) == 2
    assert service.metric(f"{metric_names.FEATURE}_bucket", feature="sepal_length", le="+Inf") == 3


def _text(label: Any) -> str:
    return label.decode() if isinstance(label, bytes) else str(label)
