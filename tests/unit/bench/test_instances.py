"""The flowers that are asked about."""

import itertools
from math import gcd

import numpy as np

from bench.inference import flowers as walk
from bench.inference.flowers import COUNT, flowers
from iris_training.dataset import iris


def taken(seed: int, count: int) -> list[walk.Flower]:
    return list(itertools.islice(flowers(seed), count))


def test_no_flower_comes_twice() -> None:
    assert len(set(taken(1, 200_000))) == 200_000


def test_the_walk_meets_every_flower_before_the_first_comes_again() -> None:
    assert gcd(walk._STRIDE, COUNT) == 1


def test_the_model_too_sees_different_flowers() -> None:
    assert len(np.unique(np.asarray(taken(1, 50_000), dtype=np.float32), axis=0)) == 50_000


def test_lengths_are_those_that_the_models_were_trained_on() -> None:
    trained = iris().features
    asked = np.asarray(taken(3, 100_000), dtype=np.float32)
    assert (asked.min(axis=0) >= trained.min(axis=0)).all()
    assert (asked.max(axis=0) <= trained.max(axis=0)).all()
    # And everywhere between them, not only in a corner.
    middle = (trained.min(axis=0) + trained.max(axis=0)) / 2
    assert np.allclose(asked.mean(axis=0), middle, atol=0.05)


def test_a_seed_gives_the_same_flowers_again_and_another_one_others() -> None:
    assert taken(7, 1_000) == taken(7, 1_000)
    assert not set(taken(7, 100_000)) & set(taken(8, 100_000))
