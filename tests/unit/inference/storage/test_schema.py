from datetime import date

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from iris_inference.storage import partitions, schema


@pytest.fixture(scope="module")
def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "iris_inference:storage/migrations")
    return ScriptDirectory.from_config(config)


def test_the_listed_revisions_are_the_shipped_migrations_in_order(scripts: ScriptDirectory) -> None:
    shipped = [script.revision for script in scripts.walk_revisions()]
    assert shipped[::-1] == list(schema.REVISIONS)
    assert scripts.get_heads() == [schema.HEAD]


@pytest.mark.parametrize(
    ("revision", "compatible"), [(None, False), ("0001", False), (schema.HEAD, True), ("9999", True)]
)
def test_a_release_is_compatible_with_its_own_schema_and_newer_ones(revision: str | None, compatible: bool) -> None:
    assert schema.is_compatible(revision) is compatible


def test_the_upcoming_days_start_yesterday_for_late_clocks() -> None:
    days = partitions.upcoming_days(date(2024, 2, 28), 3)
    assert [partitions.partition_name("predictions", day) for day in days] == [
        "predictions_20240227",
        "predictions_20240228",
        "predictions_20240229",
        "predictions_20240301",
        "predictions_20240302",
    ]
