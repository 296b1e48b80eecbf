import json

from support.inference.api import Api


def test_the_openapi_document_has_every_route_and_no_dangling_reference(good_service: Api) -> None:
    document = good_service.client.get("/openapi.json").json()
    model = "/v2/models/{model_name}"
    assert document["paths"].keys() == {
        *("/v1/predict", "/v1/feedback", "/healthz", "/readyz"),
        *("/v2", "/v2/health/live", "/v2/health/ready"),
        *(model + version + end for version in ("", "/versions/{model_version}") for end in ("", "/ready", "/infer")),
    }
    references = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "#/components/schemas/')[1:]}
    assert {"PredictRequest", "PredictResponse", "FeedbackRequest", "InferRequest", "Problem"} <= references
    assert references <= document["components"]["schemas"].keys()


def test_the_document_describes_the_bounds_that_the_service_enforces(good_service: Api) -> None:
    schemas = good_service.client.get("/openapi.json").json()["components"]["schemas"]
    request = schemas["PredictRequest"]
    assert request["additionalProperties"] is False
    assert request["properties"]["instances"]["maxItems"] == 256
    assert request["properties"]["instances"]["items"]["oneOf"][0]["minItems"] == 4
