from __future__ import annotations

import dataclasses
from pathlib import Path

from iris_demo.counts import Totals
from iris_pipeline.outcome import Outcome, State, desired_model, outcome_of
from iris_pipeline.publish import PublishedImage
from iris_pipeline.summary import RolloutResult, annotation, images, markdown, one_line
from support.pipeline.operated import release_in_state


def result(name: str) -> RolloutResult:
    resource = release_in_state(name)
    desired = desired_model(resource)
    return RolloutResult("iris", desired, outcome_of(resource, desired), 38.2, [(10, 12.4), (50, 11.0)], resource)


def test_a_promotion_says_what_serves_now_and_by_which_image() -> None:
    text = markdown(result("promoted"))
    assert text.startswith("### ✅ iris 2.0.0: Promoted\n")
    for line in (
        f"| image | `{release_in_state('promoted')['spec']['model']['image']}` |",
        "| took | 38 s |",
        "| share of the traffic | 10 % for 12 s, 50 % for 11 s |",
        "| serves now | 2.0.0 |",
    ):
        assert line in text


def test_a_rollback_names_its_reason_first_and_each_check_with_its_evidence() -> None:
    text = markdown(result("rolled_back"))
    heading, _, reason, *_ = text.splitlines()
    assert heading == "### ❌ iris 3.0.0: RolledBack"
    assert reason.startswith("ErrorRate: version 3.0.0: ")
    assert "| errorRate | Fail |" in text
    assert "| serves now | 3.0.0 |" not in text


def test_the_traffic_meanwhile_is_counted() -> None:
    traffic = Totals(900, 897, {"500": 3}, {"1.0.0": 860, "3.0.0": 40})
    text = markdown(dataclasses.replace(result("rolled_back"), traffic=traffic))
    assert "| requests meanwhile | 900, 3 failed (1.0.0: 860, 3.0.0: 40) |" in text


def test_what_was_published_is_listed_by_digest() -> None:
    reference = f"sha256:{'d' * 64}"
    listed = images([PublishedImage("registry.example.com/iris-operator", "1.2.0", reference, "201 MB", Path("x"))])
    assert f"| `registry.example.com/iris-operator@{reference}` | 1.2.0 | 201 MB |" in listed


def test_output_of_a_pod_is_escaped() -> None:
    outcome = Outcome(State.ROLLED_BACK, "Crash: <img src=x>\nsaid `a | b` & more")
    text = markdown(dataclasses.replace(result("rolled_back"), outcome=outcome))
    assert "Crash: &lt;img src=x><br>said 'a \\| b' &amp; more" in text


def test_the_line_of_the_log_has_the_reason() -> None:
    ended = result("rolled_back")
    assert one_line(ended) == f"iris 3.0.0 RolledBack: {ended.outcome.reason}"


def test_github_shows_it_as_an_error_of_one_line() -> None:
    ended = dataclasses.replace(result("rolled_back"), outcome=Outcome(State.ROLLED_BACK, "50 % failed\nand more"))
    assert annotation(ended) == "::error title=Release::iris 3.0.0 RolledBack: 50 %25 failed%0Aand more"
    assert annotation(result("promoted")).startswith("::notice title=Release::iris 2.0.0 Promoted")


def test_a_deleted_release_has_a_summary() -> None:
    gone = dataclasses.replace(
        result("promoted"), resource=None, outcome=Outcome(State.DELETED, "the release was deleted"), weights=[]
    )
    assert "| share of the traffic | none |" in markdown(gone)
    assert not gone.promoted
