"""The connection to PostgreSQL: one engine a process, psycopg underneath, every session in UTC."""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

POOL_SIZE = 10
# A statement that waits longer than this for a row is stuck behind something that a person must see.
LOCK_TIMEOUT = "30s"
# 'coun': whoever changes the schema, two daemons that start together too, does so one after the other.
SCHEMA_LOCK = 0x636F756E
# Seconds that work which nobody waits for any more is given to end by itself.
PATIENCE = 5.0
# Seconds after which a peer that says nothing is taken for dead: its machine vanished, and no packet will ever tell.
SILENCE = 20

_SESSION = {
    "timezone": "UTC",
    # The statements below lock first and look then: their snapshot must not be older than the lock.
    "default_transaction_isolation": r"read\ committed",
    "lock_timeout": LOCK_TIMEOUT,
    "idle_in_transaction_session_timeout": "5min",
    # Where PostgreSQL has no figures yet it takes a statement for a long one, and compiles it for seconds.
    "jit": "off",
    "tcp_user_timeout": f"{SILENCE}s",
    # The server's side too: amid a COPY it waits for us for as long as the connection seems to be there, whatever it has locked.
    "tcp_keepalives_idle": f"{SILENCE // 2}s",
    "tcp_keepalives_interval": f"{SILENCE // 4}s",
    "tcp_keepalives_count": "2",
}
_ALIVE = {
    "connect_timeout": 5,
    "application_name": "counterfoil",
    "client_encoding": "utf8",
    # After a failover the old primary may still answer; what cannot be written to is as good as unreachable.
    "target_session_attrs": "read-write",
    "keepalives_idle": SILENCE // 2,
    "keepalives_interval": SILENCE // 4,
    "keepalives_count": 2,
    "tcp_user_timeout": SILENCE * 1000,
}
# A transaction pooler is looked for with so many clients, and for so many seconds.
_CLIENTS = 3
_PATIENCE = 10.0
_URL = re.compile(r"((?:[^:/?#]+://)?)([^/?#]*)(.*)", re.DOTALL)
# One process of the server, even where ids are used again.
_PROCESS = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"

# What a driver or server raises when the database cannot be reached or went away while we spoke to it.
Unreachable = (
    sa.exc.OperationalError,
    # A server that has become read-only answers so.
    sa.exc.InternalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InternalError,
    psycopg.InterfaceError,
    OSError,
)

# What the server raises when a constraint forbids what was to be written.
Refused = sa.exc.IntegrityError
# What it raises when a value is none that it can hold.
Unstorable = sa.exc.DataError

T = TypeVar("T")


def is_contention(error: BaseException) -> bool:
    """Whether two transactions stood in each other's way: the database is well, and the same will work in a moment."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable))


def sync_url(url: str | sa.URL) -> sa.URL:
    """The driver's form of a `postgresql://` URL."""
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def create(url: str, *, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """An engine for `postgresql://user:password@host:port/database`; it connects when first used."""
    given = sync_url(url)
    return create_async_engine(
        given,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        # An error's text would carry what a statement was given: profiles, amounts.
        hide_parameters=True,
        # Or the first connection asks for a type that we do not have.
        use_native_hstore=False,
        connect_args=_arguments(given),
    )


def _arguments(url: sa.URL) -> dict[str, Any]:
    """What every connection is made with, besides what its URL says."""
    return {
        **{name: value for name, value in _ALIVE.items() if name not in url.query},
        # A plan made for an empty staging table must not be kept for a full one.
        "prepare_threshold": None,
        "options": _options(url),
    }


def _options(url: sa.URL) -> str:
    """What the URL asks for, and behind it, so that it counts, what our statements rely on."""
    ours = (f"-c {name}={value}" for name, value in _SESSION.items())
    return " ".join([str(url.query.get("options", "")), *ours]).strip()


def with_password(url: str, password: str) -> str:
    """A `postgresql://` URL with the password in it, in place of one that is there; good for SQLAlchemy and libpq alike."""
    scheme, authority, rest = _URL.fullmatch(url).groups()  # type: ignore[union-attr]  # anything matches
    secret = quote(password, safe="")
    user, at, host = authority.rpartition("@")
    if at:
        return f"{scheme}{user.partition(':')[0]}:{secret}@{host}{rest}"
    return f"{scheme}{authority}{rest}{'&' if '?' in rest else '?'}password={secret}"


def brief(error: BaseException) -> str:
    """A database error in one line, without the statement and its parameters."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction on one connection: committed at the end, rolled back on any error."""
    async with engine.begin() as connection:
        yield connection


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Work with the database that is not cut in half: who is told to end meanwhile waits for it.

    Nothing goes on behind it then that has a connection while the engine is disposed of.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            # Nobody else asks for it any more.
            task.exception()
        raise


async def let_end(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Wait a while for work with the database to come to its end, then cut it off; nobody asks what became of it."""
    late = (await asyncio.wait(tasks, timeout=PATIENCE))[1] if tasks else set()
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
    for task in tasks:
        if not task.cancelled():
            task.exception()


@asynccontextmanager
async def opened_ahead(engine: AsyncEngine, connections: int) -> AsyncIterator[None]:
    """So many connections are opened while something else is done: each takes a hundredth of a second, most of it waiting."""
    opening = asyncio.create_task(_open(engine, connections))
    try:
        yield
    finally:
        # Whoever needs one that could not be opened learns why.
        await let_end({opening})


async def _open(engine: AsyncEngine, connections: int) -> None:
    async with AsyncExitStack() as opened:
        for _ in range(connections):
            await opened.enter_async_context(engine.connect())


@asynccontextmanager
async def autocommit(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection on which each statement is a transaction of its own, at half the round trips of `transaction`."""
    async with engine.connect() as connection:
        yield await connection.execution_options(isolation_level="AUTOCOMMIT")


def driver(connection: AsyncConnection) -> "psycopg.AsyncConnection[tuple[object, ...]]":
    """The psycopg connection under a SQLAlchemy one, for COPY."""
    raw = connection.sync_connection.connection.driver_connection if connection.sync_connection else None
    if not isinstance(raw, psycopg.AsyncConnection):
        raise TypeError("the engine's driver is not psycopg")
    return raw


async def plain_connection(
    url: str | sa.URL, *, prepare_threshold: int | None = None
) -> "psycopg.AsyncConnection[tuple[Any, ...]]":
    """A connection of its own outside the pool, in autocommit.

    `prepare_threshold`: a statement that comes more often than that is prepared; None: none is.
    """
    given = sync_url(url)
    arguments = _arguments(given) | {"prepare_threshold": prepare_threshold}
    return await psycopg.AsyncConnection.connect(
        given.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True, **arguments
    )


async def ping(engine: AsyncEngine) -> None:
    """Make sure that the database answers.

    Raises:
        Unreachable: it does not.
    """
    async with transaction(engine) as connection:
        await connection.execute(sa.text("SELECT 1"))


async def server_version(url: str) -> str:
    """What server answers, for a person to read."""
    database = create(url, pool_size=1)
    try:
        async with transaction(database) as connection:
            return f"PostgreSQL {await connection.scalar(sa.text('SHOW server_version'))}"
    finally:
        await database.dispose()


async def pooled(url: str) -> bool:
    """Whether a transaction pooler stands between us and PostgreSQL: one client, another server process every time.

    A client asks which process serves it, and goes on doing so while others keep transactions open. Before a real server,
    or a pooler in session mode, it has a process of its own as long as it is connected.

    Raises:
        psycopg.OperationalError: the database cannot be reached, or has no connections left for this.
    """
    try:
        async with asyncio.timeout(_PATIENCE), AsyncExitStack() as open_ones:
            client = await _client(url, open_ones, autocommit=True)
            serving = await _process(client)
            for _ in range(_CLIENTS):
                other = await _client(url, open_ones, autocommit=False)
                if await _process(other) == serving or await _process(client) != serving:
                    return True
            return False
    except psycopg.errors.ProtocolViolation:
        # A pooler that lends connections for single statements refuses transactions as such.
        return True
    except TimeoutError as error:
        raise psycopg.errors.ConnectionTimeout(
            f"{_CLIENTS + 1} connections at once are not to be had within {_PATIENCE:.0f} s"
        ) from error


async def _client(
    url: str, stack: AsyncExitStack, *, autocommit: bool
) -> "psycopg.AsyncConnection[tuple[object, ...]]":
    # Nothing but what the URL says: poolers refuse start-up options, and then say so instead of showing what they are.
    given = sync_url(url)
    parameters: dict[str, Any] = {**given.translate_connect_args(username="user", database="dbname"), **given.query}
    connection = await psycopg.AsyncConnection.connect(
        **{"connect_timeout": 5, "prepare_threshold": None} | parameters, autocommit=autocommit
    )
    stack.push_async_callback(connection.close)
    return connection


async def _process(connection: "psycopg.AsyncConnection[tuple[object, ...]]") -> tuple[object, ...] | None:
    return await (await connection.execute(_PROCESS)).fetchone()
