"""Shadow traffic between two real services: stable answers its users and mirrors the requests to a canary."""

import contextlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from iris_inference import metric_names
from iris_inference.shadow import shadow_token
from support.inference.api import FLOWER, REVISION, Api, assert_problem
from support.inference.database import select
from support.inference.keys import bearer, new_key
from support.inference.models import Exported
from support.inference.process import Service, StartService
from support.inference.serving import Serve
from support.servers.process import free_port
from support.waiting import eventually

CANARY = "def456"
VIRGINICA = [6.3, 3.3, 6.0, 2.5]
SHADOW = "/v1/shadow"
CONTROL = f"{REVISION}-control-{CANARY}"


class ConfigFile:
    """The shadow config that the operator writes, replaced atomically as the kubelet does it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.json"

    def write(self, port: int, share: float = 1.0, revision: str = CANARY, control_port: int = 0) -> None:
        content: dict[str, Any] = {"revision": revision, "url": f"http://127.0.0.1:{port}", "share": share}
        if control_port:
            content["control"] = {"revision": CONTROL, "url": f"http://127.0.0.1:{control_port}"}
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(content))
        new.replace(self.path)


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path)


@pytest.fixture
def start_stable(exported: Exported, start_service: StartService, config: ConfigFile) -> Callable[..., Service]:
    def start(**variables: str) -> Service:
        return start_service(exported("1.0.0"), IRIS_SHADOW_FILE=str(config.path), **variables)

    return start


@pytest.fixture
def serve_stable(exported: Exported, serve: Serve, config: ConfigFile) -> Callable[..., Api]:
    """The same in a thread of the test run, where nothing has to be a process of its own."""
    return lambda **settings: serve(exported("1.0.0"), shadow_file=config.path, **settings)


def sent(stable: Api, result: str, canary: str = CANARY) -> float:
    return stable.metrics().get((metric_names.SHADOW_SENT, (("canary", canary), ("result", result))), -1)


def pairs(stable: Api, result: str) -> float:
    return stable.metric(metric_names.SHADOW_PAIRS, canary=CANARY, result=result)


def wait_for_share(stable: Api, share: float) -> None:
    """Returns once the service has read the config."""
    eventually(lambda: stable.metrics().get((metric_names.SHADOW_SHARE_RATIO, (("canary", CANARY),))) == share)


def with_labels_swapped(model: Path, folder: Path) -> Path:
    """The same model, whose makers mixed up two of the classes."""
    shutil.copytree(model, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["classes"] = [manifest["classes"][index] for index in (0, 2, 1)]
    path.write_text(json.dumps(manifest))
    return folder


def shadow_rows(engine: Engine) -> int:
    return int(select(engine, "SELECT count(*) FROM shadow_predictions")[0][0])


def test_both_predictions_of_a_request_are_recorded_under_its_id_and_compared(
    exported: Exported,
    start_service: StartService,
    start_stable: Callable[..., Service],
    config: ConfigFile,
    postgres_url: str,
    engine: Engine,
    tmp_path: Path,
) -> None:
    model = with_labels_swapped(exported("1.0.0"), tmp_path / "swapped")
    canary = start_service(model, IRIS_REVISION=CANARY, DATABASE_URL=postgres_url)
    config.write(canary.port)
    stable = start_stable(DATABASE_URL=postgres_url)
    assert stable.predict(FLOWER, **{"X-Request-ID": "one"}).json()["predictions"][0]["label"] == "setosa"
    assert stable.predict(FLOWER, VIRGINICA, **{"X-Request-ID": "two"}).json()["predictions"][1]["label"] == "virginica"
    eventually(lambda: canary.metric(metric_names.SHADOW_RECORDS, result="recorded") == 3)
    eventually(lambda: stable.metric(metric_names.RECORDS, result="recorded") == 3)
    rows = select(engine, "SELECT * FROM shadow_pairs ORDER BY request_id, instance")
    assert [(row.request_id, row.revision, row.label, row.canary_revision, row.canary_label) for row in rows] == [
        ("one", REVISION, "setosa", CANARY, "setosa"),
        ("two", REVISION, "setosa", CANARY, "setosa"),
        ("two", REVISION, "virginica", CANARY, "versicolor"),
    ]
    assert (sent(stable, "answered"), pairs(stable, "same"), pairs(stable, "different")) == (2, 1, 1)


def test_the_canary_and_its_control_group_get_the_same_requests(
    exported: Exported,
    serve: Serve,
    serve_stable: Callable[..., Api],
    config: ConfigFile,
    postgres_url: str,
    engine: Engine,
) -> None:
    canary, control = (
        serve(exported(version), revision=revision, shadow_file=config.path, DATABASE_URL=postgres_url)
        for version, revision in (("2.0.0", CANARY), ("1.0.0", CONTROL))
    )
    config.write(canary.port, control_port=control.port)
    stable = serve_stable(DATABASE_URL=postgres_url)
    for number in range(5):
        stable.predict(FLOWER, **{"X-Request-ID": f"r{number}"})
    eventually(lambda: sent(stable, "answered") == sent(stable, "answered", CONTROL) == 5)
    eventually(
        lambda: all(arm.metric(metric_names.SHADOW_RECORDS, result="recorded") == 5 for arm in (canary, control))
    )
    rows = select(engine, "SELECT request_id, revision FROM shadow_predictions ORDER BY revision, request_id")
    names = [f"r{number}" for number in range(5)]
    assert [row.request_id for row in rows if row.revision == CANARY] == names
    assert [row.request_id for row in rows if row.revision == CONTROL] == names
    # A pod of either arm that answers a user mirrors nothing.
    control.predict(FLOWER)
    assert sum(value for (name, _), value in control.metrics().items() if name == metric_names.SHADOW_SENT) == 0


def test_a_mirrored_request_that_arrives_twice_is_recorded_once(
    exported: Exported,
    serve: Serve,
    serve_stable: Callable[..., Api],
    config: ConfigFile,
    postgres_url: str,
    engine: Engine,
) -> None:
    canary = serve(exported("2.0.0"), revision=CANARY, DATABASE_URL=postgres_url)
    config.write(canary.port)
    stable = serve_stable(DATABASE_URL=postgres_url)
    for name in ("again", "again", "other"):
        stable.predict(FLOWER, **{"X-Request-ID": name})
    eventually(
        lambda: (
            sum(canary.metric(metric_names.SHADOW_RECORDS, result=result) for result in ("recorded", "duplicate")) == 3
        )
    )
    rows = select(engine, "SELECT request_id FROM shadow_predictions ORDER BY request_id")
    assert [row.request_id for row in rows] == ["again", "other"]


def test_a_true_label_counts_for_both_versions(
    exported: Exported,
    serve: Serve,
    serve_stable: Callable[..., Api],
    config: ConfigFile,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    model = with_labels_swapped(exported("1.0.0"), tmp_path / "swapped")
    canary = serve(model, revision=CANARY, DATABASE_URL=postgres_url)
    config.write(canary.port)
    stable = serve_stable(DATABASE_URL=postgres_url)
    stable.predict(FLOWER, VIRGINICA, VIRGINICA, FLOWER, **{"X-Request-ID": "labelled"})
    eventually(lambda: canary.metric(metric_names.SHADOW_RECORDS, result="recorded") == 4)
    eventually(lambda: stable.metric(metric_names.RECORDS, result="recorded") == 4)
    # In a later step no requests are mirrored any more, and labels still arrive.
    config.write(canary.port, share=0)
    wait_for_share(stable, 0)
    for instance, label in enumerate(("setosa", "virginica", "versicolor", "virginica")):
        assert stable.feedback("labelled", label, instance).status_code == 200
    stable.feedback("labelled", "setosa")
    for result in ("both", "only_stable", "only_canary", "neither"):
        eventually(lambda: stable.metric(metric_names.SHADOW_LABELS, canary=CANARY, result=result) == 1)  # noqa: B023 - called at once
    assert stable.metric(metric_names.FEEDBACK, outcome="correct") == 2


def test_the_canary_knows_the_user_and_never_sees_the_key(
    exported: Exported,
    start_service: StartService,
    start_stable: Callable[..., Service],
    config: ConfigFile,
    postgres_url: str,
    engine: Engine,
) -> None:
    key = new_key(postgres_url, "predict", burst=1, rate=0.001)
    canary = start_service(exported("2.0.0"), IRIS_REVISION=CANARY, DATABASE_URL=postgres_url, IRIS_AUTH="required")
    config.write(canary.port)
    stable = start_stable(DATABASE_URL=postgres_url, IRIS_AUTH="required")
    assert stable.predict(FLOWER, **bearer(key), **{"X-Request-ID": "mine"}).status_code == 200
    eventually(lambda: sent(stable, "answered") == 1)
    eventually(lambda: any(line.get("request_id") == "mine" for line in canary.log()))
    (line,) = [line for line in canary.log() if line.get("request_id") == "mine"]
    assert (line["route"], line["user"], line["key_id"], line["status"]) == (SHADOW, "shop", key.key_id, 200)
    for text in (json.dumps(canary.log()), json.dumps(stable.log()), str(select(engine, "TABLE shadow_pairs"))):
        assert key.secret not in text
    # The one request that the key's rate allows was counted by stable only.
    assert canary.predict(FLOWER, **bearer(key)).status_code == 200


def test_only_a_token_for_this_request_and_revision_is_accepted(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    key = new_key(postgres_url, "predict")
    other = new_key(postgres_url, "feedback", client="other")
    canary = serve(exported("2.0.0"), revision=CANARY, DATABASE_URL=postgres_url, auth="required")
    digests = {row.key_id: bytes(row.digest) for row in select(engine, "SELECT key_id, digest FROM api_keys")}
    now = int(time.time())

    def post(token: str | None, **headers: str) -> httpx.Response:
        if token is not None:
            headers[shadow_token.HEADER.decode()] = token
        named = {"X-Request-ID": "copy", **headers}
        return canary.client.post(SHADOW, json={"instances": [FLOWER]}, headers=named)

    def signed(revision: str = CANARY, at: int = now, key_id: str = key.key_id, request_id: str = "copy") -> str:
        return shadow_token.signed(revision, at, key_id, digests[key_id], request_id)

    assert post(signed()).status_code == 200
    assert_problem(post(None), 401)
    assert_problem(post("nonsense"), 401)
    assert_problem(post(None, **bearer(key)), 401)
    assert_problem(post(shadow_token.unsigned(CANARY, now)), 401)
    assert_problem(post(signed(request_id="another")), 401)
    assert_problem(post(signed(at=now - 600)), 401)
    assert_problem(post(shadow_token.signed(CANARY, now, key.key_id, b"guessed", "copy")), 401)
    assert_problem(post(signed(key_id=other.key_id)), 403)
    assert_problem(post(signed(revision=REVISION)), 421)
    assert canary.metric(metric_names.SHADOW_REQUESTS, code="401") == 7
    assert canary.metric(metric_names.SHADOW_REQUESTS, code="200") == 1
    assert canary.timed("shadow") == {"local": 0, "redis": 0, "none": 1}
    # A shadow token is no API key.
    assert_problem(canary.predict(FLOWER, **{"x-shadow-ticket": signed(), "X-Request-ID": "copy"}), 401)


def test_a_failing_canary_is_counted_and_does_not_affect_users(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], config: ConfigFile
) -> None:
    canary = serve(exported("3.0.0"), revision=CANARY)
    config.write(canary.port)
    stable = serve_stable()
    assert {stable.predict(FLOWER).status_code for _ in range(20)} == {200}
    eventually(lambda: sent(stable, "failed") == 20)
    assert pairs(stable, "only_stable") == 20
    assert canary.metric(metric_names.SHADOW_REQUESTS, code="500") == 20
    assert canary.metric(metric_names.SHADOW_INFERENCE_FAILURES, reason="feature_mismatch") == 20
    # None of it counts as a user's request, or as an outage.
    assert canary.metric(metric_names.REQUESTS, code="500") == 0
    assert canary.metric(metric_names.INFERENCE_FAILURES, reason="feature_mismatch") == 0


def test_requests_that_fail_on_stable_are_mirrored_too(exported: Exported, serve: Serve, config: ConfigFile) -> None:
    canary = serve(exported("1.0.0"), revision=CANARY)
    config.write(canary.port)
    stable = serve(exported("3.0.0"), shadow_file=config.path)
    assert stable.predict(FLOWER).status_code == 500
    eventually(lambda: pairs(stable, "only_canary") == 1)


def test_requests_of_the_inference_protocol_are_mirrored_too(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], config: ConfigFile
) -> None:
    canary = serve(exported("2.0.0"), revision=CANARY)
    config.write(canary.port)
    stable = serve_stable()
    body = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": FLOWER}]}
    assert stable.client.post("/v2/models/iris/infer", json=body).status_code == 200
    eventually(lambda: pairs(stable, "same") == 1)
    assert canary.metric(metric_names.SHADOW_PREDICTIONS, **{"class": "setosa"}) == 1
    assert canary.metric(metric_names.PREDICTIONS, **{"class": "setosa"}) == 0
    assert canary.metric(f"{metric_names.FEATURE}_bucket", feature="sepal_length", le="+Inf") == 0


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which each connection is handled by `answer`, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            accepting.join(10)


def silent(connection: socket.socket) -> None:
    """Reads and never responds."""
    with connection:
        while connection.recv(65_536):
            pass


def nonsense(connection: socket.socket) -> None:
    with connection:
        connection.recv(65_536)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def closes(connection: socket.socket) -> None:
    with connection:
        connection.recv(65_536)


def too_long(connection: socket.socket) -> None:
    with connection:
        connection.recv(65_536)
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + bytes(4 * 1024 * 1024))


def answers_of(stable: Api, requests: int) -> tuple[list[Any], list[float]]:
    """The responses to users, without the ids that differ, and the sorted durations. Seconds."""
    answers, seconds = [], []
    for _ in range(requests):
        started = time.perf_counter()
        answer = stable.predict(FLOWER, VIRGINICA)
        seconds.append(time.perf_counter() - started)
        content = answer.json()
        content.pop("request_id")
        answers.append((answer.status_code, content))
    return answers, sorted(seconds)


def test_a_canary_that_never_answers_does_not_affect_users(
    start_stable: Callable[..., Service], config: ConfigFile
) -> None:
    with listening(silent) as port:
        stable = start_stable(IRIS_SHADOW_TIMEOUT_SECONDS="2", IRIS_SHADOW_QUEUE="20")
        before, _ = answers_of(stable, 60)
        config.write(port)
        wait_for_share(stable, 1)
        after, seconds = answers_of(stable, 60)
        assert after == before
        # Four are in flight, ten of two instances each are queued, and all others are dropped.
        assert sent(stable, "dropped") >= 40
        # Each mirrored request takes two seconds; so would a user's request that waited for one.
        assert seconds[-1] < 1
        eventually(lambda: sent(stable, "timeout") == 60 - sent(stable, "dropped"), seconds=30)
        assert pairs(stable, "only_stable") == sent(stable, "timeout")


@pytest.mark.parametrize(("answer", "result"), [(nonsense, "failed"), (closes, "failed"), (too_long, "failed")])
def test_a_canary_with_invalid_responses_does_not_affect_users(
    serve_stable: Callable[..., Api], config: ConfigFile, answer: Callable[[socket.socket], None], result: str
) -> None:
    with listening(answer) as port:
        config.write(port)
        stable = serve_stable()
        wait_for_share(stable, 1)
        assert {status for status, _ in answers_of(stable, 30)[0]} == {200}
        eventually(lambda: sent(stable, result) == 30)


def test_an_unreachable_canary_is_counted_and_gives_no_pair(
    start_stable: Callable[..., Service], config: ConfigFile
) -> None:
    config.write(free_port())
    stable = start_stable()
    answers, seconds = answers_of(stable, 30)
    assert {status for status, _ in answers} == {200}
    assert seconds[-1] < 1
    eventually(lambda: sent(stable, "unreachable") == 30)
    assert {pairs(stable, result) for result in ("same", "different", "only_stable", "only_canary", "neither")} == {0}


def test_a_canary_that_restarts_gets_mirrored_requests_again(
    exported: Exported, start_service: StartService, start_stable: Callable[..., Service], config: ConfigFile
) -> None:
    canary = start_service(exported("2.0.0"), IRIS_REVISION=CANARY)
    config.write(canary.port)
    stable = start_stable()
    answers_of(stable, 10)
    eventually(lambda: sent(stable, "answered") == 10)
    canary.process.kill()
    assert {status for status, _ in answers_of(stable, 10)[0]} == {200}
    eventually(lambda: sent(stable, "unreachable") + sent(stable, "failed") == 10)
    canary.process.start()
    answers_of(stable, 10)
    eventually(lambda: sent(stable, "answered") == 20)


def test_mirrored_requests_for_another_revision_are_refused(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], config: ConfigFile
) -> None:
    other = serve(exported("2.0.0"), revision="789abc")
    config.write(other.port)
    stable = serve_stable()
    assert stable.predict(FLOWER).status_code == 200
    eventually(lambda: sent(stable, "refused") == 1)
    assert other.metric(metric_names.SHADOW_REQUESTS, code="421") == 1


def test_requests_beyond_the_rate_are_dropped(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], config: ConfigFile
) -> None:
    canary = serve(exported("2.0.0"), revision=CANARY)
    config.write(canary.port)
    stable = serve_stable(shadow_rate=1)
    started = time.monotonic()
    answers_of(stable, 50)
    seconds = time.monotonic() - started
    eventually(lambda: sent(stable, "answered") + sent(stable, "dropped") == 50)
    assert 1 <= sent(stable, "answered") <= 2 + seconds


def test_the_share_is_mirrored_and_config_changes_are_followed(
    exported: Exported, start_service: StartService, start_stable: Callable[..., Service], config: ConfigFile
) -> None:
    canary = start_service(exported("2.0.0"), IRIS_REVISION=CANARY)
    stable = start_stable(IRIS_SHADOW_RATE="10000", IRIS_SHADOW_QUEUE="100000")
    stable.predict(FLOWER)
    assert sent(stable, "answered") == -1, "there is no config, and so no counter"
    config.write(canary.port, share=0.5)
    wait_for_share(stable, 0.5)
    assert sent(stable, "answered") == 0
    for _ in range(200):
        stable.predict(FLOWER)
    eventually(lambda: sent(stable, "answered") == canary.metric(metric_names.SHADOW_REQUESTS, code="200"))
    # Fewer than 60 or more than 140 of 200 at one half: once in a hundred million.
    assert 60 <= sent(stable, "answered") <= 140
    config.path.write_text("{")
    eventually(lambda: any("config is invalid" in line["message"] for line in stable.log()))
    config.path.unlink()
    before = sent(stable, "answered")
    answers_of(stable, 20)
    assert sent(stable, "answered") == before


def test_the_canary_itself_mirrors_nothing_with_the_same_config(
    exported: Exported, serve: Serve, config: ConfigFile
) -> None:
    config.write(free_port())
    canary = serve(exported("2.0.0"), revision=CANARY, shadow_file=config.path)
    assert canary.predict(FLOWER).status_code == 200
    assert (metric_names.SHADOW_SHARE_RATIO, (("canary", CANARY),)) not in canary.metrics()
    assert (metric_names.SHADOW_SENT, (("canary", CANARY), ("result", "unreachable"))) not in canary.metrics()
