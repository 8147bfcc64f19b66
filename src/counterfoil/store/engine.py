"""The connection to PostgreSQL: one engine a process, psycopg underneath, every session in UTC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

POOL_SIZE = 10
# A statement that waits longer than this for a row is stuck behind something that a person must see.
LOCK_TIMEOUT = "30s"

# What a driver or server raises when the database cannot be reached or went away while we spoke to it.
Unreachable = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError, psycopg.OperationalError, OSError)


def sync_url(url: str) -> sa.URL:
    """The driver's form of a `postgresql://` URL."""
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def create(url: str, *, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """An engine for `postgresql://user:password@host:port/database`; it connects when first used."""
    return create_async_engine(
        sync_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": "counterfoil",
            # A plan made for an empty staging table must not be kept for a full one.
            "prepare_threshold": None,
            "options": f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT} -c idle_in_transaction_session_timeout=5min"
            " -c tcp_user_timeout=20000",
        },
    )


def with_password(url: str, password: str) -> str:
    """A `postgresql://` URL with the password in it."""
    return sa.make_url(url).set(password=password).render_as_string(hide_password=False)


def brief(error: BaseException) -> str:
    """A database error in one line, without the statement and its parameters."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction on one connection: committed at the end, rolled back on any error."""
    async with engine.begin() as connection:
        yield connection


def driver(connection: AsyncConnection) -> "psycopg.AsyncConnection[tuple[object, ...]]":
    """The psycopg connection under a SQLAlchemy one, for COPY."""
    raw = connection.sync_connection.connection.driver_connection if connection.sync_connection else None
    if not isinstance(raw, psycopg.AsyncConnection):
        raise TypeError("the engine's driver is not psycopg")
    return raw


async def server_version(url: str) -> str:
    """What server answers, for a person to read."""
    database = create(url, pool_size=1)
    try:
        async with transaction(database) as connection:
            return f"PostgreSQL {await connection.scalar(sa.text('SHOW server_version'))}"
    finally:
        await database.dispose()
