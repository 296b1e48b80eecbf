"""The sequence of instances."""

import itertools
from math import gcd

import numpy as np

from bench.inference import instances as walk
from bench.inference.instances import COUNT, instances
from iris_training.dataset import load_dataset


def taken(seed: int, count: int) -> list[walk.Instance]:
    return list(itertools.islice(instances(seed), count))


def test_no_instance_is_repeated() -> None:
    assert len(set(taken(1, 200_000))) == 200_000


def test_the_sequence_contains_every_instance_before_the_first_is_repeated() -> None:
    assert gcd(walk._STRIDE, COUNT) == 1


def test_instances_are_distinct_as_float32() -> None:
    assert len(np.unique(np.asarray(taken(1, 50_000), dtype=np.float32), axis=0)) == 50_000


def test_lengths_are_those_that_the_models_were_trained_on() -> None:
    trained = load_dataset().features
    asked = np.asarray(taken(3, 100_000), dtype=np.float32)
    assert (asked.min(axis=0) >= trained.min(axis=0)).all()
    assert (asked.max(axis=0) <= trained.max(axis=0)).all()
    # And everywhere between them, not only in a corner.
    middle = (trained.min(axis=0) + trained.max(axis=0)) / 2
    assert np.allclose(asked.mean(axis=0), middle, atol=0.05)


def test_the_same_seed_gives_the_same_instances_and_another_one_others() -> None:
    assert taken(7, 1_000) == taken(7, 1_000)
    assert not set(taken(7, 100_000)) & set(taken(8, 100_000))
