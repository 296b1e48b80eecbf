import json

from contract.inference.api import Api


def test_the_openapi_document_has_every_route_and_no_loose_reference(good_service: Api) -> None:
    document = good_service.client.get("/openapi.json").json()
    assert document["paths"].keys() == {"/v1/predict", "/v1/feedback", "/healthz", "/readyz"}
    references = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "#/components/schemas/')[1:]}
    assert {"PredictRequest", "PredictResponse", "FeedbackRequest", "Problem"} <= references
    assert references <= document["components"]["schemas"].keys()


def test_the_document_describes_what_the_service_refuses(good_service: Api) -> None:
    schemas = good_service.client.get("/openapi.json").json()["components"]["schemas"]
    request = schemas["PredictRequest"]
    assert request["additionalProperties"] is False
    assert request["properties"]["instances"]["maxItems"] == 256
    assert request["properties"]["instances"]["items"]["oneOf"][0]["minItems"] == 4
