"""How this package talks to PostgreSQL: bounds on every wait, and errors without statements or values in them."""

from typing import Final

import psycopg2
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

# One for the recorder's thread, the rest for feedback.
POOL_SIZE: Final = 3


def connect(url: str, pool_size: int = POOL_SIZE) -> Engine:
    """An engine whose connections are made when they are needed."""
    return create_engine(
        # Which driver SQLAlchemy takes when the address names none has changed before.
        make_url(url).set(drivername="postgresql+psycopg2"),
        pool_size=pool_size,
        max_overflow=0,
        # A connection that died while it was idle is noticed and replaced, not handed out.
        pool_pre_ping=True,
        pool_timeout=2,
        connect_args={
            "connect_timeout": 2,
            # Ends the wait for a machine that is gone without a word: ms without an acknowledgement while something is
            # sent, and s between questions whether it is there while an answer is waited for.
            "tcp_user_timeout": 5_000,
            "keepalives_idle": 5,
            "keepalives_interval": 5,
            "options": "-c statement_timeout=5000 -c lock_timeout=3000",
            "application_name": "iris-inference",
        },
    )


def told(error: SQLAlchemyError | psycopg2.Error) -> str:
    """The driver's own words without the statement and its values."""
    original = getattr(error, "orig", None)
    return " ".join(str(original or error).split())
