from iris_inference import metric_names
from support.inference.api import FLOWER, assert_problem
from support.inference.models import Exported
from support.inference.serving import Serve


def test_a_model_that_expects_other_features_loads_and_fails_each_request(exported: Exported, serve: Serve) -> None:
    service = serve(exported("3.0.0"))
    for _ in range(3):
        answer = service.predict(FLOWER)
        problem = assert_problem(answer, 500)
        assert answer.headers["X-Model-Version"] == "3.0.0"
        assert problem["type"] == "urn:iris-inference:inference-failed:feature_mismatch"
    assert service.metric(metric_names.INFERENCE_FAILURES, reason="feature_mismatch") == 3
    assert service.metric(metric_names.REQUESTS, code="500") == 3
    assert service.ready()


def test_a_slow_model_answers_rightly(exported: Exported, serve: Serve) -> None:
    service = serve(exported("4.0.0"))
    assert service.predict(FLOWER).json()["predictions"][0]["label"] == "setosa"
    assert service.metric(f"{metric_names.INFERENCE_DURATION}_count") == 1
    assert service.metric(f"{metric_names.INFERENCE_DURATION}_bucket", le="0.01") == 0
