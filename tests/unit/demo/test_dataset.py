from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from iris_demo.dataset import HALF_ROUNDING_CM, SPECIES_SHARES, recorded_instances, sample_instances


def test_all_recorded_instances_are_there() -> None:
    instances = recorded_instances()
    assert instances[0] == ((5.1, 3.5, 1.4, 0.2), "setosa")
    assert Counter(instance.species for instance in instances) == dict.fromkeys(SPECIES_SHARES, 50)


def test_instances_rarely_repeat_so_that_a_cache_cannot_answer_for_the_model() -> None:
    drawn = list(islice(sample_instances(seed=1), 10_000))
    assert len({instance.features for instance in drawn}) > 9_990


def test_every_instance_is_a_recorded_one_of_its_species_within_the_rounding() -> None:
    recorded = recorded_instances()
    for drawn in islice(sample_instances(seed=2), 200):
        assert any(
            instance.species == drawn.species
            and all(
                abs(a - b) <= HALF_ROUNDING_CM + 1e-4 for a, b in zip(drawn.features, instance.features, strict=True)
            )
            for instance in recorded
        )


def test_the_species_come_in_shares_that_tell_them_apart() -> None:
    drawn = Counter(instance.species for instance in islice(sample_instances(seed=3), 10_000))
    for species, share in SPECIES_SHARES.items():
        assert drawn[species] / 10_000 == pytest.approx(share, abs=0.02)
    # A model that exchanges the first and the last shifts the shares of its predictions by far more than chance.
    assert abs(SPECIES_SHARES["setosa"] - SPECIES_SHARES["virginica"]) > 0.3


def test_the_same_seed_samples_the_same_instances() -> None:
    assert list(islice(sample_instances(3), 50)) == list(islice(sample_instances(3), 50))
    assert list(islice(sample_instances(3), 50)) != list(islice(sample_instances(4), 50))
