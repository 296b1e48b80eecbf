from __future__ import annotations

from itertools import islice

from iris_demo.rows import HALF_OF_THE_ROUNDING_CM, recorded_rows, varied_rows


def test_the_recorded_flowers_are_all_there() -> None:
    rows = recorded_rows()
    assert len(rows) == 150
    assert rows[0] == (5.1, 3.5, 1.4, 0.2)


def test_rows_hardly_repeat_so_that_a_cache_cannot_answer_for_the_model() -> None:
    drawn = list(islice(varied_rows(seed=1), 10_000))
    assert len(set(drawn)) > 9_990


def test_every_row_is_a_recorded_flower_within_its_rounding() -> None:
    recorded = recorded_rows()
    for row in islice(varied_rows(seed=2), 200):
        assert any(
            all(abs(a - b) <= HALF_OF_THE_ROUNDING_CM + 1e-4 for a, b in zip(row, flower, strict=True))
            for flower in recorded
        )


def test_the_same_seed_draws_the_same_rows() -> None:
    assert list(islice(varied_rows(3), 50)) == list(islice(varied_rows(3), 50))
    assert list(islice(varied_rows(3), 50)) != list(islice(varied_rows(4), 50))
