from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from iris_demo.rows import HALF_OF_THE_ROUNDING_CM, MIX, recorded_flowers, varied_flowers


def test_the_recorded_flowers_are_all_there() -> None:
    flowers = recorded_flowers()
    assert flowers[0] == ((5.1, 3.5, 1.4, 0.2), "setosa")
    assert Counter(flower.species for flower in flowers) == dict.fromkeys(MIX, 50)


def test_rows_hardly_repeat_so_that_a_cache_cannot_answer_for_the_model() -> None:
    drawn = list(islice(varied_flowers(seed=1), 10_000))
    assert len({flower.measured for flower in drawn}) > 9_990


def test_every_row_is_a_recorded_flower_of_its_species_within_its_rounding() -> None:
    recorded = recorded_flowers()
    for drawn in islice(varied_flowers(seed=2), 200):
        assert any(
            flower.species == drawn.species
            and all(
                abs(a - b) <= HALF_OF_THE_ROUNDING_CM + 1e-4
                for a, b in zip(drawn.measured, flower.measured, strict=True)
            )
            for flower in recorded
        )


def test_the_species_come_in_shares_that_tell_them_apart() -> None:
    drawn = Counter(flower.species for flower in islice(varied_flowers(seed=3), 10_000))
    for species, share in MIX.items():
        assert drawn[species] / 10_000 == pytest.approx(share, abs=0.02)
    # A model that takes the first for the last moves the shares of its predictions by far more than chance.
    assert abs(MIX["setosa"] - MIX["virginica"]) > 0.3


def test_the_same_seed_draws_the_same_rows() -> None:
    assert list(islice(varied_flowers(3), 50)) == list(islice(varied_flowers(3), 50))
    assert list(islice(varied_flowers(3), 50)) != list(islice(varied_flowers(4), 50))
