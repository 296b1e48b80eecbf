from iris_inference.relayed import RelayedLabels

OUTCOMES = ("correct", "incorrect")


def read(labels: RelayedLabels) -> dict[tuple[str, str], float]:
    (family,) = labels.collect()
    assert {sample.name for sample in family.samples} <= {"model_feedback_relayed_total"}
    return {(sample.labels["made_by"], sample.labels["outcome"]): sample.value for sample in family.samples}


def test_labels_are_counted_by_who_made_the_prediction() -> None:
    labels = RelayedLabels(OUTCOMES)
    assert read(labels) == {}
    for outcome in ("correct", "correct", "incorrect"):
        labels.add("abc", outcome)
    labels.add("def", "correct")
    # Both outcomes of a revision begin together: the other one is known to be none.
    assert read(labels) == {
        ("abc", "correct"): 2,
        ("abc", "incorrect"): 1,
        ("def", "correct"): 1,
        ("def", "incorrect"): 0,
    }


def test_of_many_revisions_those_are_kept_that_labels_still_come_for() -> None:
    labels = RelayedLabels(OUTCOMES)
    for revision in ("tried now", "a", "b", "c", "tried now", "d", "e"):
        labels.add(revision, "correct")
    assert {revision for revision, _ in read(labels)} == {"tried now", "c", "d", "e"}
    assert read(labels)["tried now", "correct"] == 2
