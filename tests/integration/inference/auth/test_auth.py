"""Authentication in responses, logs and metrics, with a real PostgreSQL that is stopped and started."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from iris_inference import metric_names
from iris_inference.auth import keys
from iris_inference.auth.key_store import KeyStore
from support.inference.api import FLOWER, Api, assert_problem
from support.inference.database import select
from support.inference.keys import bearer, new_key
from support.inference.models import Exported
from support.inference.process import StartService
from support.inference.serving import Serve
from support.servers.postgres import Postgres
from support.servers.process import ServerError
from support.waiting import eventually

PREDICT = "/v1/predict"
INFER = "/v2/models/iris/infer"
FEEDBACK = "/v1/feedback"
PROTECTED = (PREDICT, INFER, "/v2/models/iris/versions/1.0.0/infer", FEEDBACK)
OPEN = (
    "/healthz",
    "/readyz",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/iris",
    "/docs",
    "/docs/start.js",
    "/docs/swagger-ui.css",
    "/docs/swagger-ui-bundle.js",
    "/openapi.json",
)
BODIES: dict[str, Any] = {
    PREDICT: {"instances": [FLOWER]},
    INFER: {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": FLOWER}]},
    FEEDBACK: {"request_id": "nobody", "label": "setosa"},
}


@pytest.fixture
def service(exported: Exported, serve: Serve, postgres_url: str) -> Api:
    return serve(exported("1.0.0"), DATABASE_URL=postgres_url, auth="required", auth_refresh_seconds=0.2)


def post(service: Api, path: str, headers: dict[str, str]) -> httpx.Response:
    return service.client.post(path, json=BODIES.get(path, BODIES[INFER]), headers=headers)


def await_known(service: Api, key: keys.ApiKey) -> None:
    """Wait until the service knows the key."""
    eventually(lambda: post(service, PREDICT, bearer(key)).status_code != 401)


@pytest.mark.parametrize("path", PROTECTED)
def test_without_a_key_no_protected_route_is_reached(service: Api, path: str) -> None:
    problem = post(service, path, {})
    assert_problem(problem, 401)
    assert problem.headers["WWW-Authenticate"] == 'Bearer realm="iris-inference"'
    assert "iris-inference keys create" in problem.json()["detail"]
    for wrong in ("Bearer", "Bearer nonsense", f"Bearer {keys.generate().text}", "Basic aXJpczppcmlz"):
        problem = post(service, path, {"Authorization": wrong})
        assert_problem(problem, 401)
        assert problem.headers["WWW-Authenticate"] == 'Bearer realm="iris-inference", error="invalid_token"'
    # Feedback requests are not timed.
    assert service.timed() == {"local": 0, "redis": 0, "none": 0 if path == FEEDBACK else 5}


def test_public_routes_need_no_key(service: Api) -> None:
    assert {path: service.client.get(path).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_a_key_is_limited_to_its_scopes_and_a_missing_scope_is_named(service: Api, postgres_url: str) -> None:
    predicting, labelling = new_key(postgres_url, "predict"), new_key(postgres_url, "feedback")
    await_known(service, predicting)
    await_known(service, labelling)
    assert post(service, PREDICT, bearer(predicting)).status_code == 200
    assert post(service, INFER, {"X-API-Key": predicting.text}).status_code == 200
    assert post(service, FEEDBACK, bearer(labelling)).status_code == 404
    refused = post(service, FEEDBACK, bearer(predicting))
    assert "feedback" in assert_problem(refused, 403)["detail"]
    assert 'error="insufficient_scope", scope="feedback"' in refused.headers["WWW-Authenticate"]
    assert_problem(post(service, PREDICT, bearer(labelling)), 403)


def test_a_key_is_refused_after_it_expired_or_was_revoked(service: Api, postgres_url: str) -> None:
    soon, revoked = new_key(postgres_url, lifetime=timedelta(seconds=2)), new_key(postgres_url)
    await_known(service, soon)
    await_known(service, revoked)
    store = KeyStore(postgres_url)
    assert store.revoke(revoked.key_id) == store.revoke(revoked.key_id)
    store.close()
    eventually(lambda: post(service, PREDICT, bearer(revoked)).status_code == 401, seconds=2)
    assert assert_problem(post(service, PREDICT, bearer(revoked)), 401)["type"] == "urn:iris-inference:key-revoked"
    eventually(lambda: post(service, PREDICT, bearer(soon)).status_code == 401)
    assert assert_problem(post(service, PREDICT, bearer(soon)), 401)["type"] == "urn:iris-inference:key-expired"


def test_a_new_key_is_accepted_soon_after_its_first_refusal_at_any_refresh_interval(
    exported: Exported, serve: Serve, postgres_url: str
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url, auth="required", auth_refresh_seconds=300)
    key = new_key(postgres_url)
    assert post(service, PREDICT, bearer(key)).status_code == 401
    eventually(lambda: post(service, PREDICT, bearer(key)).status_code == 200, seconds=5)


def test_limited_requests_get_a_retry_after(service: Api, postgres_url: str) -> None:
    key = new_key(postgres_url, rate=0.1, burst=5)
    await_known(service, key)
    answers = [post(service, PREDICT, bearer(key)) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 6
    assert_problem(answers[-1], 429)
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
    assert answers[-1].headers["RateLimit-Policy"] == '"key";q=5;w=50'
    assert answers[-1].headers["RateLimit"].startswith('"key";r=0;t=')


def test_every_outcome_is_counted_and_starts_at_0(service: Api, postgres_url: str) -> None:
    outcomes = ("ok", "missing", "unknown", "revoked", "expired", "scope", "limited", "unavailable")
    before = {result: service.metric(metric_names.AUTH_REQUESTS, result=result) for result in outcomes}
    assert set(before.values()) == {0}
    key = new_key(postgres_url, "predict", rate=0.001, burst=2)
    await_known(service, key)
    post(service, PREDICT, bearer(key))
    post(service, PREDICT, bearer(key))
    post(service, FEEDBACK, bearer(key))
    post(service, PREDICT, {})
    counted = {result: service.metric(metric_names.AUTH_REQUESTS, result=result) for result in outcomes}
    assert (counted["ok"], counted["limited"], counted["scope"], counted["missing"]) == (2, 1, 1, 1)
    assert service.metric(metric_names.REQUESTS, code="401") == 1 + counted["unknown"]
    assert service.metric(metric_names.REQUESTS, code="429") == 1


def test_the_day_of_a_keys_last_use_is_recorded(service: Api, postgres_url: str, engine: Engine) -> None:
    used, unused = new_key(postgres_url), new_key(postgres_url)
    await_known(service, used)
    eventually(lambda: bool(select(engine, "SELECT 1 FROM api_keys WHERE last_used_on = current_date")))
    rows = select(engine, "SELECT key_id FROM api_keys WHERE last_used_on IS NULL")
    assert [row.key_id for row in rows] == [unused.key_id]


def test_a_database_user_with_read_access_suffices_for_authentication(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    key = new_key(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS reader"))
        connection.execute(text("CREATE ROLE reader LOGIN PASSWORD 'reader'"))
        connection.execute(text("GRANT SELECT ON alembic_version, clients, api_keys TO reader"))
    before, _, rest = postgres_url.partition("//")
    url = f"{before}//reader:reader@{rest.partition('@')[2]}"
    service = serve(exported("1.0.0"), DATABASE_URL=url, auth="required", schema_mode="wait", auth_refresh_seconds=0.1)
    assert post(service, PREDICT, bearer(key)).status_code == 200
    another = new_key(postgres_url)
    await_known(service, another)
    assert post(service, PREDICT, bearer(another)).status_code == 200


def test_known_keys_stay_valid_for_a_while_without_the_database(
    exported: Exported, serve: Serve, postgres_url: str, postgres_server: Postgres
) -> None:
    """Seen to fail without a limit of `_valid_until`."""
    key = new_key(postgres_url)
    service = serve(
        exported("1.0.0"), DATABASE_URL=postgres_url, auth="required", auth_refresh_seconds=0.1, auth_stale_seconds=4
    )
    assert post(service, PREDICT, bearer(key)).status_code == 200
    with stopped(postgres_server):
        assert post(service, PREDICT, bearer(key)).status_code == 200
        assert_problem(post(service, PREDICT, {}), 401)
        eventually(lambda: post(service, PREDICT, bearer(key)).status_code == 503)
        refused = post(service, PREDICT, bearer(key))
        assert assert_problem(refused, 503)["type"] == "urn:iris-inference:keys-unavailable"
        assert int(refused.headers["Retry-After"]) > 0
        # An unknown key gets the same response: it cannot be verified.
        assert_problem(post(service, PREDICT, bearer(keys.generate())), 503)
        assert service.client.get("/readyz").status_code == 200
    eventually(lambda: post(service, PREDICT, bearer(key)).status_code == 200)


def test_a_pod_that_never_read_the_keys_is_not_ready_and_refuses_every_request(
    exported: Exported, start_service: StartService, postgres_url: str, postgres_server: Postgres
) -> None:
    key = new_key(postgres_url)
    with stopped(postgres_server):
        service = start_service(exported("1.0.0"), unready=True, DATABASE_URL=postgres_url, IRIS_AUTH="required")
        eventually(lambda: "the API keys were not read yet" in service.client.get("/readyz").json()["detail"])
        assert_problem(service.client.get("/readyz"), 503)
        assert_problem(service.client.get("/v2/health/ready"), 503)
        assert_problem(post(service, PREDICT, bearer(key)), 503)
        assert_problem(post(service, PREDICT, {}), 401)
    eventually(service.ready)
    assert post(service, PREDICT, bearer(key)).status_code == 200


def test_a_key_is_in_no_log_response_metric_or_table(
    exported: Exported, start_service: StartService, postgres_url: str, engine: Engine
) -> None:
    """Seen to fail with the key logged where it is verified."""
    known, unknown = new_key(postgres_url, "predict"), keys.generate()
    service = start_service(
        exported("1.0.0"),
        DATABASE_URL=postgres_url, IRIS_AUTH="required", IRIS_AUTH_REFRESH_SECONDS="0.2", IRIS_LOG_LEVEL="DEBUG",
    )  # fmt: skip
    outputs = []
    for key in (known, unknown):
        for headers in (bearer(key), {"X-API-Key": key.text}, {"Authorization": f"Basic {key.text}"}):
            for path in (PREDICT, FEEDBACK):
                answer = post(service, path, headers)
                outputs.append(f"{answer.text} {answer.headers}")
        outputs.append(service.client.get(f"/{key.text}").text)
    outputs.append(httpx.get(service.metrics_url).text)
    log = service.log()
    outputs.extend(map(str, log))
    outputs.extend(str(row) for row in select(engine, "SELECT * FROM api_keys"))
    requests = [line for line in log if line.get("route") == PREDICT and line["status"] == 200]
    assert {(line["user"], line["key_id"]) for line in requests} == {("shop", known.key_id)}
    for secret in (known.secret, unknown.secret):
        assert not [part for part in outputs if secret in part]


def test_authentication_without_a_database_stops_the_start(exported: Exported, start_service: StartService) -> None:
    with pytest.raises(ServerError, match="exited with 2") as refusal:
        start_service(exported("1.0.0"), IRIS_AUTH="required")
    assert "IRIS_AUTH: " in str(refusal.value)
    assert "set DATABASE_URL, or IRIS_AUTH=off" in str(refusal.value)


@contextlib.contextmanager
def stopped(postgres: Postgres) -> Iterator[None]:
    postgres.server.kill()
    try:
        yield
    finally:
        postgres.server.start()
