import json
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from iris_inference.api.predict_response import ResponseRenderer
from iris_inference.api.v2 import tensors
from iris_inference.shadow import shadow_token
from support.inference.api import FLOWER, REVISION, Api
from support.inference.models import Exported
from support.inference.serving import Serve

VIRGINICA = [6.3, 3.3, 6.0, 2.5]
INFER = "/v2/models/iris/infer"
TENSOR = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": FLOWER}]}
# With this a prediction goes the application's way, however its bytes arrive; without, perhaps the short one.
UNUSUAL = {"Content-Type": "application/json; charset=utf-8"}

LATENCIES = [
    *("0.001", "0.0025", "0.005", "0.0075", "0.01", "0.015", "0.025", "0.035", "0.05", "0.075"),
    *("0.1", "0.15", "0.25", "0.35", "0.5", "0.75", "1.0", "2.5", "5.0", "+Inf"),
]


def test_every_series_is_there_before_the_first_request(exported: Exported, serve: Serve) -> None:
    metrics = serve(exported("1.0.0")).metrics()
    expected = {
        *(("inference_requests_total", (("code", code),)) for code in ("200", "413", "422", "500", "503")),
        *(
            ("model_inference_failures_total", (("reason", reason),))
            for reason in ("feature_mismatch", "runtime_error", "non_finite")
        ),
        *(("model_predictions_total", (("class", name),)) for name in ("setosa", "versicolor", "virginica")),
        # Of mirrored requests, as the operator reads them from a canary.
        *(
            ("shadow_inference_failures_total", (("reason", reason),))
            for reason in ("feature_mismatch", "runtime_error", "non_finite")
        ),
        *(("shadow_predictions_total", (("class", name),)) for name in ("setosa", "versicolor", "virginica")),
        *(
            (f"{family}_request_duration_seconds_bucket", (("cache", cache), ("le", bound)))
            for family in ("inference", "shadow")
            for cache in ("local", "redis", "none")
            for bound in LATENCIES
        ),
        *(("model_feedback_total", (("outcome", outcome),)) for outcome in ("correct", "incorrect")),
        *(
            ("cache_requests_total", (("result", result), ("tier", tier)))
            for tier in ("local", "redis")
            for result in ("hit", "miss", "error")
        ),
        *(("prediction_records_total", (("result", result),)) for result in ("recorded", "dropped", "rejected")),
        *((f"prediction_backlog_{what}", ()) for what in ("records", "bytes", "fill_ratio", "oldest_seconds")),
        *(("model_inference_duration_seconds_bucket", (("le", bound),)) for bound in LATENCIES),
        *(
            ("model_feature_values_total", (("feature", "petal_width"), ("training_share", share), ("up_to", bound)))
            for bound, share in (
                ("-0.02", "0"),
                ("0.35", "0.2733"),
                ("1.35", "0.2467"),
                ("2.62", "0.2267"),
                ("+Inf", "0"),
            )
        ),
        *(
            ("model_feature_bucket", (("feature", feature), ("le", "+Inf")))
            for feature in ("sepal_length", "sepal_width", "petal_length", "petal_width")
        ),
    }
    assert expected <= metrics.keys()
    assert {metrics[series] for series in expected} == {0.0}


def test_the_served_model_is_named_with_its_digest(good_service: Api) -> None:
    (labels,) = [labels for name, labels in good_service.metrics() if name == "model_info"]
    named = dict(labels)
    assert (named["name"], named["version"], len(named["digest"])) == ("iris", "1.0.0", 64)
    assert good_service.metric("model_info", **named) == 1


def test_the_content_type_of_the_metrics_is_prometheus_text(good_service: Api) -> None:
    answer = httpx.get(good_service.metrics_url)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")


def test_the_metrics_are_not_on_the_port_of_the_api(good_service: Api) -> None:
    assert good_service.client.get("/metrics").status_code == 404


def test_only_predictions_are_counted_as_requests(exported: Exported, serve: Serve) -> None:
    service = serve(exported("1.0.0"))
    service.predict(FLOWER, [6.3, 3.3, 6.0, 2.5])
    service.predict("no flower")
    for path in ("/healthz", "/readyz", "/nowhere"):
        service.client.get(path)
    assert service.metric("inference_requests_total", code="200") == 1
    assert service.metric("inference_requests_total", code="422") == 1
    assert service.timed() == {"local": 0, "redis": 0, "none": 2}
    assert service.metric("model_inference_duration_seconds_count") == 1
    assert service.metric("model_predictions_total", **{"class": "setosa"}) == 1
    assert service.metric("model_predictions_total", **{"class": "virginica"}) == 1
    assert service.metric("model_feature_bucket", feature="sepal_length", le="5.5") == 1
    assert service.metric("model_feature_bucket", feature="sepal_length", le="6.5") == 2


@pytest.mark.parametrize("headers", [{}, UNUSUAL])
def test_requests_are_timed_apart_when_the_cache_answers_all_of_them(
    exported: Exported, serve: Serve, headers: dict[str, str]
) -> None:
    service = serve(exported("1.0.0"))
    # The last is a mixture.
    for instances in ([FLOWER], [FLOWER], [FLOWER, FLOWER], [FLOWER, VIRGINICA]):
        assert service.predict(*instances, **headers).status_code == 200
    service.predict("no flower", **headers)
    assert service.timed() == {"local": 2, "redis": 0, "none": 3}
    assert service.metric("cache_requests_total", tier="local", result="hit") == 4


def test_requests_of_the_open_inference_protocol_are_timed_the_same(exported: Exported, serve: Serve) -> None:
    service = serve(exported("1.0.0"))
    for version in ("1.0.0", "1.0.0", "9.9.9"):
        service.client.post(f"/v2/models/iris/versions/{version}/infer", json=TENSOR)
    assert service.timed() == {"local": 1, "redis": 0, "none": 2}


def test_mirrored_requests_are_timed_in_their_own_family(exported: Exported, serve: Serve) -> None:
    service = serve(exported("1.0.0"))
    for revision in (REVISION, REVISION, REVISION, "other"):
        headers = {shadow_token.HEADER.decode(): shadow_token.unsigned(revision, int(time.time()))}
        service.client.post("/v1/shadow", json={"instances": [FLOWER]}, headers=headers)
    assert service.timed("shadow") == {"local": 2, "redis": 0, "none": 1}
    assert service.timed() == {"local": 0, "redis": 0, "none": 0}


@pytest.mark.parametrize(("path", "body"), [("/v1/predict", {"instances": [FLOWER]}), (INFER, TENSOR)])
def test_a_result_that_cannot_be_rendered_is_timed_as_an_error(
    exported: Exported, serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(ResponseRenderer, "render", broken)
    monkeypatch.setattr(tensors, "render_outputs", broken)
    service = serve(exported("1.0.0"))
    for _ in range(2):
        assert service.client.post(path, json=body, headers=UNUSUAL).status_code == 500
    assert service.metric("cache_requests_total", tier="local", result="hit") == 1
    assert service.timed() == {"local": 0, "redis": 0, "none": 2}


def test_the_values_of_features_are_counted_in_the_bins_of_the_models_training_data(
    exported: Exported, serve: Serve
) -> None:
    service = serve(exported("1.0.0"))
    service.predict(FLOWER, [6.3, 3.3, 6.0, 20.5])
    shares = {"up_to": "0.35", "training_share": "0.2733"}, {"up_to": "+Inf", "training_share": "0"}
    for of in shares:
        assert service.metric("model_feature_values_total", feature="petal_width", **of) == 1


def test_a_manifest_without_training_data_counts_no_values_in_bins(
    exported: Exported, serve: Serve, tmp_path: Path
) -> None:
    folder = shutil.copytree(exported("1.0.0"), tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["training"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    service = serve(folder)
    service.predict(FLOWER)
    assert not [labels for name, labels in service.metrics() if name == "model_feature_values_total"]
