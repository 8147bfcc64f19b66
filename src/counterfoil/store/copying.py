"""COPY, what PostgreSQL's refusals of a row are, and the lock under which versions are drawn."""

import re
from collections.abc import Awaitable, Callable, Iterable

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.domain.line import NULL
from counterfoil.store.engine import driver

# Classes of SQLSTATE: a value cannot be understood, or is more than an index or a type can hold.
_REFUSALS = ("22", "54")
# Values stand in quotes in PostgreSQL's messages; which ones depends on the server's language.
_QUOTED = re.compile(r"""(: )?("[^"]*"|«[^»]*»|„[^“”]*[“”]|'[^']*')""")
_COLUMN = re.compile(r"\bcolumn (\w+)")

Lock = Callable[[AsyncConnection], Awaitable[None]]
"""What a writer does before it touches what others see; it ends with `lock_versions`.

A savepoint that is rolled back takes locks along, so it is done anew at every try.
"""


async def lock_versions(connection: AsyncConnection) -> None:
    """From here to the end of the transaction nobody else draws a version; whoever drew one before has ended."""
    await connection.execute(sa.text("SELECT counterfoil.lock_versions()"))


async def draw_versions(connection: AsyncConnection, rows: int) -> int:
    """The first of so many versions that follow one another, for a transaction during which others may draw theirs.

    It must not commit before `await_versions` has returned: rows would appear out of the order of their versions.
    """
    first: int = await connection.scalar(sa.text("SELECT counterfoil.draw_versions(:rows)"), {"rows": rows})
    return first


async def await_versions(connection: AsyncConnection, first: int) -> None:
    """Wait for the end of whoever drew a version before this one."""
    await connection.execute(sa.text("SELECT counterfoil.await_versions(:first)"), {"first": first})


async def copy(connection: AsyncConnection, target: str, lines: Iterable[bytes]) -> None:
    """Send lines (domain.line) into `target`, a table with its columns; some at a time, each time whole ones.

    Raises:
        sqlalchemy.exc.DataError: PostgreSQL refuses a value.
        sqlalchemy.exc.IntegrityError: a row is there already.
    """
    statement = f"COPY {target} FROM STDIN (NULL '{NULL.decode()}')"
    try:
        async with driver(connection).cursor() as cursor, cursor.copy(statement.encode()) as stream:
            for some in lines:
                await stream.write(some)
    except psycopg.DataError as error:
        raise sa.exc.DataError("COPY", {}, error) from error
    except psycopg.IntegrityError as error:
        raise sa.exc.IntegrityError("COPY", {}, error) from error
    except psycopg.errors.ProgramLimitExceeded as error:
        raise sa.exc.OperationalError("COPY", {}, error) from error


def refusal(error: sa.exc.DBAPIError) -> str | None:
    """Why PostgreSQL refuses a row, without the value, which may be anybody's name; None when the row is not the reason."""
    if not isinstance(error.orig, psycopg.Error) or (error.orig.sqlstate or "")[:2] not in _REFUSALS:
        return None
    diagnosis = error.orig.diag
    column = _COLUMN.search(diagnosis.context or "")
    return _QUOTED.sub("", diagnosis.message_primary or "refused") + (f" - at `{column[1]}`" if column else "")
