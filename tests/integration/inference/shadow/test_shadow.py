"""Shadow traffic between two real services: stable answers its users, and a canary gets copies behind the answers."""

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

from contract.inference.api import FLOWER, REVISION, Api, assert_problem
from contract.inference.models import Exported
from contract.inference.serving import Serve
from integration.harness.process import free_port
from integration.inference.database import select
from integration.inference.keys import bearer, new_key
from integration.inference.process import Service, StartService
from integration.inference.waiting import eventually
from iris_inference.shadow import ticket

CANARY = "def456"
VIRGINICA = [6.3, 3.3, 6.0, 2.5]
SHADOW = "/v1/shadow"


class Plan:
    """The file that the operator writes, replaced at once as the kubelet does it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "plan.json"

    def write(self, port: int, share: float = 1.0, revision: str = CANARY) -> None:
        told = {"revision": revision, "url": f"http://127.0.0.1:{port}", "share": share}
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(told))
        new.replace(self.path)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path)


@pytest.fixture
def start_stable(exported: Exported, start_service: StartService, plan: Plan) -> Callable[..., Service]:
    def start(**variables: str) -> Service:
        return start_service(exported("1.0.0"), IRIS_SHADOW_FILE=str(plan.path), **variables)

    return start


@pytest.fixture
def serve_stable(exported: Exported, serve: Serve, plan: Plan) -> Callable[..., Api]:
    """The same in a thread of the test run, where nothing has to be a process of its own."""
    return lambda **settings: serve(exported("1.0.0"), shadow_file=plan.path, **settings)


def copies(stable: Api, result: str, canary: str = CANARY) -> float:
    return stable.metrics().get(("shadow_copies_total", (("canary", canary), ("result", result))), -1)


def pairs(stable: Api, result: str) -> float:
    return stable.metric("shadow_pairs_total", canary=CANARY, result=result)


def sharing(stable: Api, share: float) -> None:
    """Returns once the service does as the plan says."""
    eventually(lambda: stable.metrics().get(("shadow_share_ratio", (("canary", CANARY),))) == share)


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


def test_both_answers_to_a_request_are_recorded_under_its_id_and_compared(
    exported: Exported,
    start_service: StartService,
    start_stable: Callable[..., Service],
    plan: Plan,
    postgres_url: str,
    engine: Engine,
    tmp_path: Path,
) -> None:
    model = with_labels_swapped(exported("1.0.0"), tmp_path / "swapped")
    canary = start_service(model, IRIS_REVISION=CANARY, DATABASE_URL=postgres_url)
    plan.write(canary.port)
    stable = start_stable(DATABASE_URL=postgres_url)
    assert stable.predict(FLOWER, **{"X-Request-ID": "one"}).json()["predictions"][0]["label"] == "setosa"
    assert stable.predict(FLOWER, VIRGINICA, **{"X-Request-ID": "two"}).json()["predictions"][1]["label"] == "virginica"
    eventually(lambda: canary.metric("shadow_records_total", result="recorded") == 3)
    eventually(lambda: stable.metric("prediction_records_total", result="recorded") == 3)
    rows = select(engine, "SELECT * FROM shadow_pairs ORDER BY request_id, instance")
    assert [(row.request_id, row.revision, row.label, row.canary_revision, row.canary_label) for row in rows] == [
        ("one", REVISION, "setosa", CANARY, "setosa"),
        ("two", REVISION, "setosa", CANARY, "setosa"),
        ("two", REVISION, "virginica", CANARY, "versicolor"),
    ]
    assert (copies(stable, "answered"), pairs(stable, "same"), pairs(stable, "different")) == (2, 1, 1)


def test_a_copy_that_comes_twice_is_recorded_once(
    exported: Exported,
    serve: Serve,
    serve_stable: Callable[..., Api],
    plan: Plan,
    postgres_url: str,
    engine: Engine,
) -> None:
    canary = serve(exported("2.0.0"), revision=CANARY, DATABASE_URL=postgres_url)
    plan.write(canary.port)
    stable = serve_stable(DATABASE_URL=postgres_url)
    for name in ("again", "again", "other"):
        stable.predict(FLOWER, **{"X-Request-ID": name})
    eventually(
        lambda: sum(canary.metric("shadow_records_total", result=result) for result in ("recorded", "duplicate")) == 3
    )
    rows = select(engine, "SELECT request_id FROM shadow_predictions ORDER BY request_id")
    assert [row.request_id for row in rows] == ["again", "other"]


def test_a_true_label_counts_for_both_versions(
    exported: Exported,
    serve: Serve,
    serve_stable: Callable[..., Api],
    plan: Plan,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    model = with_labels_swapped(exported("1.0.0"), tmp_path / "swapped")
    canary = serve(model, revision=CANARY, DATABASE_URL=postgres_url)
    plan.write(canary.port)
    stable = serve_stable(DATABASE_URL=postgres_url)
    stable.predict(FLOWER, VIRGINICA, VIRGINICA, FLOWER, **{"X-Request-ID": "labelled"})
    eventually(lambda: canary.metric("shadow_records_total", result="recorded") == 4)
    eventually(lambda: stable.metric("prediction_records_total", result="recorded") == 4)
    # In a later step nothing is copied any more, and labels still come.
    plan.write(canary.port, share=0)
    sharing(stable, 0)
    for instance, label in enumerate(("setosa", "virginica", "versicolor", "virginica")):
        assert stable.feedback("labelled", label, instance).status_code == 200
    stable.feedback("labelled", "setosa")
    for result in ("both", "only_stable", "only_canary", "neither"):
        eventually(lambda: stable.metric("shadow_labels_total", canary=CANARY, result=result) == 1)  # noqa: B023 - called at once
    assert stable.metric("model_feedback_total", outcome="correct") == 2


def test_the_canary_knows_the_user_and_never_sees_the_key(
    exported: Exported,
    start_service: StartService,
    start_stable: Callable[..., Service],
    plan: Plan,
    postgres_url: str,
    engine: Engine,
) -> None:
    key = new_key(postgres_url, "predict", burst=1, rate=0.001)
    canary = start_service(exported("2.0.0"), IRIS_REVISION=CANARY, DATABASE_URL=postgres_url, IRIS_AUTH="required")
    plan.write(canary.port)
    stable = start_stable(DATABASE_URL=postgres_url, IRIS_AUTH="required")
    assert stable.predict(FLOWER, **bearer(key), **{"X-Request-ID": "mine"}).status_code == 200
    eventually(lambda: copies(stable, "answered") == 1)
    eventually(lambda: any(line.get("request_id") == "mine" for line in canary.log()))
    (line,) = [line for line in canary.log() if line.get("request_id") == "mine"]
    assert (line["route"], line["user"], line["key_id"], line["status"]) == (SHADOW, "shop", key.key_id, 200)
    for told in (json.dumps(canary.log()), json.dumps(stable.log()), str(select(engine, "TABLE shadow_pairs"))):
        assert key.secret not in told
    # The one request that the key's rate allows was counted where it came in.
    assert canary.predict(FLOWER, **bearer(key)).status_code == 200


def test_only_a_ticket_for_this_request_and_revision_lets_a_copy_in(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    key = new_key(postgres_url, "predict")
    other = new_key(postgres_url, "feedback", client="other")
    canary = serve(exported("2.0.0"), revision=CANARY, DATABASE_URL=postgres_url, auth="required")
    digests = {row.key_id: bytes(row.digest) for row in select(engine, "SELECT key_id, digest FROM api_keys")}
    now = int(time.time())

    def ask(shown: str | None, **headers: str) -> httpx.Response:
        if shown is not None:
            headers[ticket.HEADER.decode()] = shown
        named = {"X-Request-ID": "copy", **headers}
        return canary.client.post(SHADOW, json={"instances": [FLOWER]}, headers=named)

    def signed(revision: str = CANARY, at: int = now, key_id: str = key.key_id, request_id: str = "copy") -> str:
        return ticket.signed(revision, at, key_id, digests[key_id], request_id)

    assert ask(signed()).status_code == 200
    assert_problem(ask(None), 401)
    assert_problem(ask("nonsense"), 401)
    assert_problem(ask(None, **bearer(key)), 401)
    assert_problem(ask(ticket.unsigned(CANARY, now)), 401)
    assert_problem(ask(signed(request_id="another")), 401)
    assert_problem(ask(signed(at=now - 600)), 401)
    assert_problem(ask(ticket.signed(CANARY, now, key.key_id, b"guessed", "copy")), 401)
    assert_problem(ask(signed(key_id=other.key_id)), 403)
    assert_problem(ask(signed(revision=REVISION)), 421)
    assert canary.metric("shadow_requests_total", code="401") == 7
    assert canary.metric("shadow_requests_total", code="200") == 1
    assert canary.timed("shadow") == {"local": 0, "redis": 0, "none": 1}
    # A ticket is no key.
    assert_problem(canary.predict(FLOWER, **{"x-shadow-ticket": signed(), "X-Request-ID": "copy"}), 401)


def test_a_canary_that_fails_is_counted_and_no_user_notices(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], plan: Plan
) -> None:
    canary = serve(exported("3.0.0"), revision=CANARY)
    plan.write(canary.port)
    stable = serve_stable()
    assert {stable.predict(FLOWER).status_code for _ in range(20)} == {200}
    eventually(lambda: copies(stable, "failed") == 20)
    assert pairs(stable, "only_stable") == 20
    assert canary.metric("shadow_requests_total", code="500") == 20
    assert canary.metric("shadow_inference_failures_total", reason="feature_mismatch") == 20
    # Nothing of it looks like a user's request, or like an outage.
    assert canary.metric("inference_requests_total", code="500") == 0
    assert canary.metric("model_inference_failures_total", reason="feature_mismatch") == 0


def test_requests_that_stable_fails_are_copied_too(exported: Exported, serve: Serve, plan: Plan) -> None:
    canary = serve(exported("1.0.0"), revision=CANARY)
    plan.write(canary.port)
    stable = serve(exported("3.0.0"), shadow_file=plan.path)
    assert stable.predict(FLOWER).status_code == 500
    eventually(lambda: pairs(stable, "only_canary") == 1)


def test_the_inference_protocol_is_copied_too(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], plan: Plan
) -> None:
    canary = serve(exported("2.0.0"), revision=CANARY)
    plan.write(canary.port)
    stable = serve_stable()
    body = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": FLOWER}]}
    assert stable.client.post("/v2/models/iris/infer", json=body).status_code == 200
    eventually(lambda: pairs(stable, "same") == 1)
    assert canary.metric("shadow_predictions_total", **{"class": "setosa"}) == 1
    assert canary.metric("model_predictions_total", **{"class": "setosa"}) == 0
    assert canary.metric("model_feature_bucket", feature="sepal_length", le="+Inf") == 0


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
    """Reads and never answers."""
    with connection:
        while connection.recv(65_536):
            pass


def nonsense(connection: socket.socket) -> None:
    with connection:
        connection.recv(65_536)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def hangs_up(connection: socket.socket) -> None:
    with connection:
        connection.recv(65_536)


def too_long(connection: socket.socket) -> None:
    with connection:
        connection.recv(65_536)
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + bytes(4 * 1024 * 1024))


def answers_of(stable: Api, requests: int) -> tuple[list[Any], list[float]]:
    """What the users get, without the ids that differ, and how long each waits. Seconds."""
    answers, seconds = [], []
    for _ in range(requests):
        started = time.perf_counter()
        answer = stable.predict(FLOWER, VIRGINICA)
        seconds.append(time.perf_counter() - started)
        told = answer.json()
        told.pop("request_id")
        answers.append((answer.status_code, told))
    return answers, sorted(seconds)


def test_a_canary_that_never_answers_takes_nothing_from_the_users(
    start_stable: Callable[..., Service], plan: Plan
) -> None:
    with listening(silent) as port:
        stable = start_stable(IRIS_SHADOW_TIMEOUT_SECONDS="2", IRIS_SHADOW_QUEUE="20")
        before, _ = answers_of(stable, 60)
        plan.write(port)
        sharing(stable, 1)
        after, seconds = answers_of(stable, 60)
        assert after == before
        # Four are on their way, ten of two flowers each wait, and all others found no room.
        assert copies(stable, "dropped") >= 40
        # Each copy takes two seconds; a user that waited for one would have, too.
        assert seconds[-1] < 1
        eventually(lambda: copies(stable, "timeout") == 60 - copies(stable, "dropped"), seconds=30)
        assert pairs(stable, "only_stable") == copies(stable, "timeout")


@pytest.mark.parametrize(("answer", "result"), [(nonsense, "failed"), (hangs_up, "failed"), (too_long, "failed")])
def test_a_canary_that_answers_what_is_no_answer_takes_nothing_from_the_users(
    serve_stable: Callable[..., Api], plan: Plan, answer: Callable[[socket.socket], None], result: str
) -> None:
    with listening(answer) as port:
        plan.write(port)
        stable = serve_stable()
        sharing(stable, 1)
        assert {status for status, _ in answers_of(stable, 30)[0]} == {200}
        eventually(lambda: copies(stable, result) == 30)


def test_a_canary_that_is_away_is_counted_and_no_pair(start_stable: Callable[..., Service], plan: Plan) -> None:
    plan.write(free_port())
    stable = start_stable()
    answers, seconds = answers_of(stable, 30)
    assert {status for status, _ in answers} == {200}
    assert seconds[-1] < 1
    eventually(lambda: copies(stable, "unreachable") == 30)
    assert {pairs(stable, result) for result in ("same", "different", "only_stable", "only_canary", "neither")} == {0}


def test_a_canary_that_dies_and_comes_back_gets_copies_again(
    exported: Exported, start_service: StartService, start_stable: Callable[..., Service], plan: Plan
) -> None:
    canary = start_service(exported("2.0.0"), IRIS_REVISION=CANARY)
    plan.write(canary.port)
    stable = start_stable()
    answers_of(stable, 10)
    eventually(lambda: copies(stable, "answered") == 10)
    canary.process.kill()
    assert {status for status, _ in answers_of(stable, 10)[0]} == {200}
    eventually(lambda: copies(stable, "unreachable") + copies(stable, "failed") == 10)
    canary.process.start()
    answers_of(stable, 10)
    eventually(lambda: copies(stable, "answered") == 20)


def test_copies_for_another_revision_are_refused(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], plan: Plan
) -> None:
    other = serve(exported("2.0.0"), revision="789abc")
    plan.write(other.port)
    stable = serve_stable()
    assert stable.predict(FLOWER).status_code == 200
    eventually(lambda: copies(stable, "refused") == 1)
    assert other.metric("shadow_requests_total", code="421") == 1


def test_more_than_the_rate_is_dropped(
    exported: Exported, serve: Serve, serve_stable: Callable[..., Api], plan: Plan
) -> None:
    canary = serve(exported("2.0.0"), revision=CANARY)
    plan.write(canary.port)
    stable = serve_stable(shadow_rate=1)
    started = time.monotonic()
    answers_of(stable, 50)
    seconds = time.monotonic() - started
    eventually(lambda: copies(stable, "answered") + copies(stable, "dropped") == 50)
    assert 1 <= copies(stable, "answered") <= 2 + seconds


def test_a_share_is_copied_and_the_plan_is_followed_while_it_changes(
    exported: Exported, start_service: StartService, start_stable: Callable[..., Service], plan: Plan
) -> None:
    canary = start_service(exported("2.0.0"), IRIS_REVISION=CANARY)
    stable = start_stable(IRIS_SHADOW_RATE="10000", IRIS_SHADOW_QUEUE="100000")
    stable.predict(FLOWER)
    assert copies(stable, "answered") == -1, "there is no plan, and so no counter"
    plan.write(canary.port, share=0.5)
    sharing(stable, 0.5)
    assert copies(stable, "answered") == 0
    for _ in range(200):
        stable.predict(FLOWER)
    eventually(lambda: copies(stable, "answered") == canary.metric("shadow_requests_total", code="200"))
    # Fewer than 60 or more than 140 of 200 at one half: once in a hundred million.
    assert 60 <= copies(stable, "answered") <= 140
    plan.path.write_text("{")
    eventually(lambda: any("is no plan" in line["message"] for line in stable.log()))
    plan.path.unlink()
    before = copies(stable, "answered")
    answers_of(stable, 20)
    assert copies(stable, "answered") == before


def test_the_canary_itself_copies_nothing_though_it_has_the_same_plan(
    exported: Exported, serve: Serve, plan: Plan
) -> None:
    plan.write(free_port())
    canary = serve(exported("2.0.0"), revision=CANARY, shadow_file=plan.path)
    assert canary.predict(FLOWER).status_code == 200
    assert ("shadow_share_ratio", (("canary", CANARY),)) not in canary.metrics()
    assert ("shadow_copies_total", (("canary", CANARY), ("result", "unreachable"))) not in canary.metrics()
