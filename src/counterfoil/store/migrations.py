"""The schema's history, run through alembic: up to head, as SQL, and the checks before anything is touched.

alembic is imported where something is to be done: a database that is at head needs none of its 8 MiB.
"""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store import ledger_index
from counterfoil.store.engine import SCHEMA_LOCK, brief, sync_url

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""The revisions that this code knows, as the scripts in `alembic/versions` have them, from the first to the newest."""
VERSION_SCHEMA = "counterfoil"
VERSION_TABLE = "alembic_version"
ROLES = ("counterfoil_crm", "counterfoil_reader")
# A migration that cannot get its lock at once fails and is run again, rather than queue every reader behind it.
LOCK_TIMEOUT = "10s"
# What alembic works on lies in a global of its own: one migration at a time in a process.
_ALEMBIC = threading.Lock()
# Schemas of ours that a database of this revision does not have yet; of a revision that is not named, it has all.
_NOT_YET = {
    None: ("counterfoil", "mirror", "crm", "analytics"),
    "0001": ("crm", "analytics"),
    "0002": ("analytics",),
    "0003": ("analytics",),
}
# What an interrupted or undone first migration leaves is a schema with an empty version table; more in it, or any schema
# `mirror`, is somebody else's. Everything in a schema, of whatever kind, depends on it.
_FOREIGN = sa.text("""
    SELECT n.nspname FROM pg_namespace n
    WHERE n.nspname = ANY(:names) AND (n.nspname <> :own OR EXISTS (
        SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
            AND (d.classid <> 'pg_class'::regclass OR d.objid IS DISTINCT FROM CAST(to_regclass(:ours) AS oid))
    ))
    ORDER BY n.nspname LIMIT 1
""")


def script_directory() -> Path:
    """The folder of the migration scripts: inside the wheel, or at the top of a source tree."""
    packaged = Path(__file__).parent.parent / "_alembic"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "alembic"


def _config(**attributes: object) -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(script_directory()).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


def head() -> str:
    """The newest revision that this code knows."""
    return REVISIONS[-1]


def current(connection: sa.Connection) -> str | None:
    """The revision of the database; None when it has never been migrated."""
    table = f"{VERSION_SCHEMA}.{VERSION_TABLE}"
    if connection.scalar(sa.text("SELECT to_regclass(:table)"), {"table": table}) is None:
        return None
    revision: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {table}"))
    return revision


def upgrade(url: str, *, filling: bool = False) -> tuple[str | None, str]:
    """Bring the schema to head; returns the revisions before and after.

    `filling`: the caller is about to read deals, alone, and builds their index behind them (store.ledger_index).

    Raises:
        ConfigurationError: the database belongs to another program or to a newer version, or its role may not do that.
    """
    with _connection(url) as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": SCHEMA_LOCK})
        connection.commit()
        try:
            before = current(connection)
            refuse_foreign(connection, before)
            _require_unicode(connection)
            _require_roles(connection)
            connection.commit()
            if before != head():
                _upgrade(_config(connection=connection))
            if not (filling and ledger_index.left_out(connection)):
                _restore_index(connection)
            return before, head()
        except sa.exc.ProgrammingError as error:
            if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise
            raise ConfigurationError(
                f"the database role may not migrate: {brief(error)}; let it own the database"
            ) from error
        finally:
            connection.rollback()
            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": SCHEMA_LOCK})
            connection.commit()


def _restore_index(connection: sa.Connection) -> None:
    """Where a first reading was killed."""
    try:
        ledger_index.restore(connection)
        connection.commit()
    except sa.exc.DBAPIError as error:
        connection.rollback()
        ledger_index.say_missing(error)


def require_head(url: str) -> None:
    """Refuse to work on a schema that is not at head.

    Raises:
        ConfigurationError: it is behind, ahead, or not ours.
    """
    with _connection(url) as connection:
        revision = current(connection)
        refuse_foreign(connection, revision)
    if revision != head():
        raise ConfigurationError(
            f"the schema is at revision {revision or 'none'}, this version needs {head()}: run `counterfoil migrate`"
        )


def upgrade_sql() -> str:
    """The SQL that brings an empty database to head."""
    output = io.StringIO()
    config = _config()
    config.output_buffer = output
    _upgrade(config, sql=True)
    return output.getvalue()


def _upgrade(config: "Config", *, sql: bool = False) -> None:
    from alembic import command  # noqa: PLC0415

    with _ALEMBIC:
        command.upgrade(config, "head", sql=sql)


def run(url: str, change: "Callable[[Config], None]") -> None:
    """Call an alembic command with our configuration and one connection."""
    with _connection(url) as connection, _ALEMBIC:
        change(_config(connection=connection))


def refuse_foreign(connection: sa.Connection, revision: str | None) -> None:
    """Refuse a database that is not ours to change.

    Raises:
        ConfigurationError: its revision is unknown here, or schemas of our names exist that we did not make.
    """
    if revision is not None and revision not in REVISIONS:
        raise ConfigurationError(
            f"the database has schema revision {revision}, which this version of Counterfoil does not know: "
            "run the newer version that made it; nothing was changed"
        )
    given = {
        "names": list(_NOT_YET.get(revision, ())),
        "own": VERSION_SCHEMA,
        "ours": f"{VERSION_SCHEMA}.{VERSION_TABLE}",
    }
    found = connection.scalar(_FOREIGN, given)
    if found:
        raise ConfigurationError(
            f"schema {found} exists in this database but Counterfoil did not make it: "
            "give Counterfoil a database of its own; nothing was changed"
        )


def _require_unicode(connection: sa.Connection) -> None:
    encoding = connection.scalar(sa.text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database's encoding is {encoding}, which cannot hold every name: create one with ENCODING 'UTF8'"
        )


def _require_roles(connection: sa.Connection) -> None:
    missing = [role for role in ROLES if not _exists(connection, role)]
    may_create = connection.scalar(
        sa.text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    )
    if missing and not may_create:
        orders = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in missing)
        raise ConfigurationError(f"the database role may not create roles; let an administrator run: {orders}")


def _exists(connection: sa.Connection, role: str) -> bool:
    return bool(connection.scalar(sa.text("SELECT true FROM pg_roles WHERE rolname = :role"), {"role": role}))


@contextmanager
def _connection(url: str) -> Iterator[sa.Connection]:
    arguments = {"connect_timeout": 10}
    engine = sa.create_engine(
        sync_url(url), poolclass=sa.pool.NullPool, use_native_hstore=False, connect_args=arguments
    )
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
