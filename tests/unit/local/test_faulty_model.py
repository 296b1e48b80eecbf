"""The model with a fault that demonstrations and benchmarks are built with."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from images.faulty.faulty_model import Fault, FaultyModel, exchanged, fault_of, spend
from iris_inference.api.schemas import FEATURES
from iris_inference.model.artifact import read_artifact, read_manifest
from iris_inference.model.runtime import InferenceError, pack
from iris_training.export import export
from iris_training.recipes import RECIPES

SETOSA = (5.1, 3.5, 1.4, 0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    export(RECIPES["2.0.0"], "2.0.0", made)
    return made


def model(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> FaultyModel:
    monkeypatch.setattr(FaultyModel, "fault", fault)
    return FaultyModel(read_artifact(folder, read_manifest(folder, ())), FEATURES)


def test_a_fault_is_read_from_variables_and_absent_without_them() -> None:
    assert fault_of({"FAULT_WORK_MS": "20", "FAULT_EXCHANGE": "1", "FAULT_FAILURES": "0.05"}) == Fault(
        work=0.02, exchange=True, failures=0.05
    )
    assert fault_of({"FAULT_WORK_MS": "", "FAULT_EXCHANGE": "0"}) == Fault()


def test_work_uses_processor_time() -> None:
    started = time.thread_time()
    spend(0.02)
    assert 0.02 <= time.thread_time() - started < 0.1


def test_without_a_fault_it_predicts_as_the_model_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (prediction,) = model(folder, monkeypatch, Fault()).predict(pack([SETOSA]))
    assert prediction.class_index == 0


def test_work_is_part_of_what_the_service_measures_of_its_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = model(folder, monkeypatch, Fault(work=0.01))
    assert slow.inference_seconds >= 0.01
    assert not slow.batch_invariant


def test_exchanged_classes_keep_their_probabilities(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (prediction,) = model(folder, monkeypatch, Fault(exchange=True)).predict(pack([SETOSA]))
    assert prediction.class_index == 2
    assert max(prediction.probabilities) == prediction.probabilities[2]
    labels, probabilities = exchanged(np.array([0, 1]), np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], np.float32))
    assert labels.tolist() == [2, 1]
    assert probabilities.argmax(axis=1).tolist() == [2, 1]


def test_the_share_of_failing_calls_is_chosen_by_chance(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = model(folder, monkeypatch, Fault(failures=0.05))
    monkeypatch.setattr(faulty, "chance", lambda: 0.04)
    with pytest.raises(InferenceError):
        faulty.predict(pack([SETOSA]))
    monkeypatch.setattr(faulty, "chance", lambda: 0.06)
    assert len(faulty.predict(pack([SETOSA]))) == 1


def test_it_is_slow_from_its_first_request_on_and_not_from_its_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    spent: list[float] = []
    faulty = model(folder, monkeypatch, Fault(first_seconds=20, first_work=0.025))
    monkeypatch.setattr(faulty, "clock", lambda: now)
    monkeypatch.setattr("images.faulty.faulty_model.spend", spent.append)
    for now in (1000.0, 1019.0, 1021.0):  # noqa: B007 - read by the clock
        faulty.predict(pack([SETOSA]))
    assert [seconds for seconds in spent if seconds] == [0.025, 0.025]
