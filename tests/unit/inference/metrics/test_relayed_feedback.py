from iris_inference import metric_names
from iris_inference.metrics.relayed_feedback import RelayedFeedback

OUTCOMES = ("correct", "incorrect")


def read(labels: RelayedFeedback) -> dict[tuple[str, str], float]:
    (family,) = labels.collect()
    assert {sample.name for sample in family.samples} <= {metric_names.FEEDBACK_RELAYED}
    return {(sample.labels["made_by"], sample.labels["outcome"]): sample.value for sample in family.samples}


def test_labels_are_counted_by_the_revision_that_made_the_prediction() -> None:
    labels = RelayedFeedback(OUTCOMES)
    assert read(labels) == {}
    for outcome in ("correct", "correct", "incorrect"):
        labels.add("abc", outcome)
    labels.add("def", "correct")
    # Both outcomes of a revision are exposed together: the other one starts at 0.
    assert read(labels) == {
        ("abc", "correct"): 2,
        ("abc", "incorrect"): 1,
        ("def", "correct"): 1,
        ("def", "incorrect"): 0,
    }


def test_only_the_revisions_with_recent_labels_are_kept() -> None:
    labels = RelayedFeedback(OUTCOMES)
    for revision in ("current", "a", "b", "c", "current", "d", "e"):
        labels.add(revision, "correct")
    assert {revision for revision, _ in read(labels)} == {"current", "c", "d", "e"}
    assert read(labels)["current", "correct"] == 2
