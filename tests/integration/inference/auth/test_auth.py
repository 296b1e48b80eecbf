"""Who is let in, as callers, logs and metrics see it; with a real PostgreSQL that comes and goes."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from contract.inference.api import FLOWER, Api, assert_problem
from contract.inference.models import Exported
from contract.inference.serving import Serve
from integration.harness.postgres import Postgres
from integration.harness.process import ServerError
from integration.inference.database import select
from integration.inference.keys import bearer, new_key
from integration.inference.process import StartService
from integration.inference.waiting import eventually
from iris_inference.auth import keys
from iris_inference.auth.key_store import KeyStore

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


def ask(service: Api, path: str, headers: dict[str, str]) -> httpx.Response:
    return service.client.post(path, json=BODIES.get(path, BODIES[INFER]), headers=headers)


def known(service: Api, key: keys.ApiKey) -> None:
    """Returns once the service knows the key."""
    eventually(lambda: ask(service, PREDICT, bearer(key)).status_code != 401)


@pytest.mark.parametrize("path", PROTECTED)
def test_without_a_key_no_protected_route_is_reached(service: Api, path: str) -> None:
    problem = ask(service, path, {})
    assert_problem(problem, 401)
    assert problem.headers["WWW-Authenticate"] == 'Bearer realm="iris-inference"'
    assert "iris-inference keys create" in problem.json()["detail"]
    for wrong in ("Bearer", "Bearer nonsense", f"Bearer {keys.generate().text}", "Basic aXJpczppcmlz"):
        problem = ask(service, path, {"Authorization": wrong})
        assert_problem(problem, 401)
        assert problem.headers["WWW-Authenticate"] == 'Bearer realm="iris-inference", error="invalid_token"'
    # Feedback is no prediction, and is not timed.
    assert service.timed() == {"local": 0, "redis": 0, "none": 0 if path == FEEDBACK else 5}


def test_what_is_no_secret_needs_no_key(service: Api) -> None:
    assert {path: service.client.get(path).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_a_key_opens_what_its_scopes_say_and_names_what_is_missing(service: Api, postgres_url: str) -> None:
    predicting, labelling = new_key(postgres_url, "predict"), new_key(postgres_url, "feedback")
    known(service, predicting)
    known(service, labelling)
    assert ask(service, PREDICT, bearer(predicting)).status_code == 200
    assert ask(service, INFER, {"X-API-Key": predicting.text}).status_code == 200
    assert ask(service, FEEDBACK, bearer(labelling)).status_code == 404
    refused = ask(service, FEEDBACK, bearer(predicting))
    assert "feedback" in assert_problem(refused, 403)["detail"]
    assert 'error="insufficient_scope", scope="feedback"' in refused.headers["WWW-Authenticate"]
    assert_problem(ask(service, PREDICT, bearer(labelling)), 403)


def test_a_key_ends_when_it_expires_and_when_it_is_revoked(service: Api, postgres_url: str) -> None:
    soon, revoked = new_key(postgres_url, lasts=timedelta(seconds=2)), new_key(postgres_url)
    known(service, soon)
    known(service, revoked)
    store = KeyStore(postgres_url)
    assert store.revoke(revoked.key_id) == store.revoke(revoked.key_id)
    store.close()
    eventually(lambda: ask(service, PREDICT, bearer(revoked)).status_code == 401, seconds=2)
    assert assert_problem(ask(service, PREDICT, bearer(revoked)), 401)["type"] == "urn:iris-inference:key-revoked"
    eventually(lambda: ask(service, PREDICT, bearer(soon)).status_code == 401)
    assert assert_problem(ask(service, PREDICT, bearer(soon)), 401)["type"] == "urn:iris-inference:key-expired"


def test_a_new_key_is_known_after_its_first_refusal_however_rarely_keys_are_read(
    exported: Exported, serve: Serve, postgres_url: str
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url, auth="required", auth_refresh_seconds=300)
    key = new_key(postgres_url)
    assert ask(service, PREDICT, bearer(key)).status_code == 401
    eventually(lambda: ask(service, PREDICT, bearer(key)).status_code == 200, seconds=5)


def test_too_many_requests_hear_when_to_come_again(service: Api, postgres_url: str) -> None:
    key = new_key(postgres_url, rate=0.1, burst=5)
    known(service, key)
    answers = [ask(service, PREDICT, bearer(key)) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 6
    assert_problem(answers[-1], 429)
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
    assert answers[-1].headers["RateLimit-Policy"] == '"key";q=5;w=50'
    assert answers[-1].headers["RateLimit"].startswith('"key";r=0;t=')


def test_every_outcome_is_counted_and_begins_at_0(service: Api, postgres_url: str) -> None:
    outcomes = ("ok", "missing", "unknown", "revoked", "expired", "scope", "limited", "unavailable")
    before = {result: service.metric("auth_requests_total", result=result) for result in outcomes}
    assert set(before.values()) == {0}
    key = new_key(postgres_url, "predict", rate=0.001, burst=2)
    known(service, key)
    ask(service, PREDICT, bearer(key))
    ask(service, PREDICT, bearer(key))
    ask(service, FEEDBACK, bearer(key))
    ask(service, PREDICT, {})
    counted = {result: service.metric("auth_requests_total", result=result) for result in outcomes}
    assert (counted["ok"], counted["limited"], counted["scope"], counted["missing"]) == (2, 1, 1, 1)
    assert service.metric("inference_requests_total", code="401") == 1 + counted["unknown"]
    assert service.metric("inference_requests_total", code="429") == 1


def test_the_use_of_a_key_is_noted_by_the_day(service: Api, postgres_url: str, engine: Engine) -> None:
    used, unused = new_key(postgres_url), new_key(postgres_url)
    known(service, used)
    eventually(lambda: bool(select(engine, "SELECT 1 FROM api_keys WHERE last_used_on = current_date")))
    rows = select(engine, "SELECT key_id FROM api_keys WHERE last_used_on IS NULL")
    assert [row.key_id for row in rows] == [unused.key_id]


def test_who_may_only_read_the_keys_can_check_them(
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
    assert ask(service, PREDICT, bearer(key)).status_code == 200
    another = new_key(postgres_url)
    known(service, another)
    assert ask(service, PREDICT, bearer(another)).status_code == 200


def test_the_database_may_go_and_known_keys_go_on_for_as_long_as_they_may(
    exported: Exported, serve: Serve, postgres_url: str, postgres_server: Postgres
) -> None:
    """Seen to fail with no end of `_good_until`."""
    key = new_key(postgres_url)
    service = serve(
        exported("1.0.0"), DATABASE_URL=postgres_url, auth="required", auth_refresh_seconds=0.1, auth_stale_seconds=4
    )
    assert ask(service, PREDICT, bearer(key)).status_code == 200
    with away(postgres_server):
        assert ask(service, PREDICT, bearer(key)).status_code == 200
        assert_problem(ask(service, PREDICT, {}), 401)
        eventually(lambda: ask(service, PREDICT, bearer(key)).status_code == 503)
        refused = ask(service, PREDICT, bearer(key))
        assert assert_problem(refused, 503)["type"] == "urn:iris-inference:keys-unavailable"
        assert int(refused.headers["Retry-After"]) > 0
        # A stranger learns as little as a friend, and is not called unknown: nobody can tell.
        assert_problem(ask(service, PREDICT, bearer(keys.generate())), 503)
        assert service.client.get("/readyz").status_code == 200
    eventually(lambda: ask(service, PREDICT, bearer(key)).status_code == 200)


def test_a_pod_that_never_read_the_keys_is_not_ready_and_lets_nobody_in(
    exported: Exported, start_service: StartService, postgres_url: str, postgres_server: Postgres
) -> None:
    key = new_key(postgres_url)
    with away(postgres_server):
        service = start_service(exported("1.0.0"), unready=True, DATABASE_URL=postgres_url, IRIS_AUTH="required")
        eventually(lambda: "the API keys were not read yet" in service.client.get("/readyz").json()["detail"])
        assert_problem(service.client.get("/readyz"), 503)
        assert_problem(service.client.get("/v2/health/ready"), 503)
        assert_problem(ask(service, PREDICT, bearer(key)), 503)
        assert_problem(ask(service, PREDICT, {}), 401)
    eventually(service.ready)
    assert ask(service, PREDICT, bearer(key)).status_code == 200


def test_a_key_is_nowhere_but_in_the_answer_that_made_it(
    exported: Exported, start_service: StartService, postgres_url: str, engine: Engine
) -> None:
    """Seen to fail with the key logged where it is verified."""
    good, stranger = new_key(postgres_url, "predict"), keys.generate()
    service = start_service(
        exported("1.0.0"),
        DATABASE_URL=postgres_url, IRIS_AUTH="required", IRIS_AUTH_REFRESH_SECONDS="0.2", IRIS_LOG_LEVEL="DEBUG",
    )  # fmt: skip
    seen = []
    for key in (good, stranger):
        for headers in (bearer(key), {"X-API-Key": key.text}, {"Authorization": f"Basic {key.text}"}):
            for path in (PREDICT, FEEDBACK):
                answer = ask(service, path, headers)
                seen.append(f"{answer.text} {answer.headers}")
        seen.append(service.client.get(f"/{key.text}").text)
    seen.append(httpx.get(service.metrics_url).text)
    log = service.log()
    seen.extend(map(str, log))
    seen.extend(str(row) for row in select(engine, "SELECT * FROM api_keys"))
    requests = [line for line in log if line.get("route") == PREDICT and line["status"] == 200]
    assert {(line["user"], line["key_id"]) for line in requests} == {("shop", good.key_id)}
    for secret in (good.secret, stranger.secret):
        assert not [part for part in seen if secret in part]


def test_keys_that_nobody_keeps_stop_the_start(exported: Exported, start_service: StartService) -> None:
    with pytest.raises(ServerError, match="exited with 2") as refusal:
        start_service(exported("1.0.0"), IRIS_AUTH="required")
    assert "IRIS_AUTH: " in str(refusal.value)
    assert "set DATABASE_URL, or IRIS_AUTH=off" in str(refusal.value)


@contextlib.contextmanager
def away(postgres: Postgres) -> Iterator[None]:
    postgres.server.kill()
    try:
        yield
    finally:
        postgres.server.start()
