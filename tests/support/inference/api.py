"""A client of the prediction service that speaks the contract."""

import ssl
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

FLOWER = [5.1, 3.5, 1.4, 0.2]
REVISION = "abc123"
# For clients of plain HTTP: by itself each of them reads the machine's certificates first, which takes 16 ms.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Api:
    """A client, a probe and a scrape of one service on loopback."""

    def __init__(self, port: int, metrics_port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self.client = httpx.Client(base_url=self.url, timeout=10, verify=NO_CERTIFICATES)

    def alive(self) -> bool:
        return self._is_ok("/healthz")

    def ready(self) -> bool:
        return self._is_ok("/readyz")

    def _is_ok(self, probe: str) -> bool:
        try:
            return httpx.get(f"{self.url}{probe}", timeout=1, verify=NO_CERTIFICATES).status_code == 200
        except httpx.TransportError:
            return False

    def predict(self, *instances: Any, **headers: str) -> httpx.Response:
        return self.client.post("/v1/predict", json={"instances": list(instances)}, headers=headers)

    def feedback(self, request_id: str, label: str, instance: int = 0) -> httpx.Response:
        return self.client.post("/v1/feedback", json={"request_id": request_id, "instance": instance, "label": label})

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> httpx.Response:
        return self.client.post(path, content=body, headers={"Content-Type": content_type})

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample by its name and its labels."""
        page = httpx.get(self.metrics_url, timeout=5, verify=NO_CERTIFICATES).text
        families = text_string_to_metric_families(page)
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def metric(self, name: str, /, **labels: str) -> float:
        return self.metrics()[name, tuple(sorted(labels.items()))]

    def timed(self, family: str = "inference") -> dict[str, float]:
        """The number of timed requests by the label `cache`; of mirrored requests for the family `shadow`."""
        name = f"{family}_request_duration_seconds_count"
        return {dict(labels)["cache"]: count for (sample, labels), count in self.metrics().items() if sample == name}


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = dict(answer.json())
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["title"]
    assert problem["detail"]
    return problem
