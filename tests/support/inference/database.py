"""Queries of the database for tests."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = create_engine(postgres_url, pool_pre_ping=True)
    yield engine
    engine.dispose()


def select(engine: Engine, statement: str, **values: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(statement), values).all())


def count_recorded(engine: Engine) -> int:
    return int(select(engine, "SELECT count(*) FROM predictions")[0][0])


def count_by_request(engine: Engine) -> Counter[str]:
    """The number of rows of each request's first instance."""
    rows = select(
        engine, "SELECT request_id, count(*) AS times FROM predictions WHERE instance = 0 GROUP BY request_id"
    )
    return Counter({row.request_id: row.times for row in rows})
