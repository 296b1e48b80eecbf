"""Connects to PostgreSQL with a timeout on every wait, and describes errors without statements or values."""

from typing import Final

import psycopg2
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

# One connection for the recorder's thread, the others for feedback.
POOL_SIZE: Final = 3


def connect(url: str, pool_size: int = POOL_SIZE) -> Engine:
    """An engine that connects when a connection is first needed."""
    return create_engine(
        # SQLAlchemy's default driver has changed before, so it is named.
        make_url(url).set(drivername="postgresql+psycopg2"),
        pool_size=pool_size,
        max_overflow=0,
        # Connections that broke while idle are detected and replaced.
        pool_pre_ping=True,
        pool_timeout=2,
        connect_args={
            "connect_timeout": 2,
            # For a peer that disappeared: tcp_user_timeout is in ms without an acknowledgement of sent data, the
            # keepalives are in s while waiting for a reply.
            "tcp_user_timeout": 5_000,
            "keepalives_idle": 5,
            "keepalives_interval": 5,
            "options": "-c statement_timeout=5000 -c lock_timeout=3000",
            "application_name": "iris-inference",
        },
    )


def describe_error(error: SQLAlchemyError | psycopg2.Error) -> str:
    """The driver's own message, without the statement and its values."""
    original = getattr(error, "orig", None)
    return " ".join(str(original or error).split())
