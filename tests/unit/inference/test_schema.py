from datetime import date

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from iris_inference import partitions, schema


@pytest.fixture(scope="module")
def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "iris_inference:migrations")
    return ScriptDirectory.from_config(config)


def test_the_service_knows_the_migrations_that_it_ships_in_their_order(scripts: ScriptDirectory) -> None:
    shipped = [script.revision for script in scripts.walk_revisions()]
    assert shipped[::-1] == list(schema.REVISIONS)
    assert scripts.get_heads() == [schema.HEAD]


@pytest.mark.parametrize(("found", "suffices"), [(None, False), ("0001", False), (schema.HEAD, True), ("9999", True)])
def test_a_release_works_with_its_own_tables_and_with_newer_ones(found: str | None, suffices: bool) -> None:
    assert schema.suffices(found) is suffices


def test_the_coming_days_begin_yesterday_for_the_clocks_that_are_late() -> None:
    days = partitions.coming(date(2024, 2, 28), 3)
    assert [partitions.name("predictions", day) for day in days] == [
        "predictions_20240227",
        "predictions_20240228",
        "predictions_20240229",
        "predictions_20240301",
        "predictions_20240302",
    ]
