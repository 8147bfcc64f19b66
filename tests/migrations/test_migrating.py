"""Migrating: whose database it is, who may, and what happens when two do it at once or one is interrupted."""

import multiprocessing
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from psycopg import conninfo

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store import Unreachable, migrations
from counterfoil.store.engine import with_password

OBJECTS = """
    SELECT n.nspname, c.relname, c.oid::text FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def objects(url: str) -> set[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return set(connection.execute(OBJECTS).fetchall())


def revisions(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT version_num FROM counterfoil.alembic_version").fetchall()


def test_an_empty_database_comes_to_head_and_stays_there(empty_database_url):
    assert migrations.upgrade(empty_database_url) == (None, migrations.head())
    before = objects(empty_database_url)
    assert migrations.upgrade(empty_database_url) == (migrations.head(), migrations.head())
    assert objects(empty_database_url) == before
    migrations.require_head(empty_database_url)


def test_a_database_that_was_never_migrated_is_not_at_head(empty_database_url):
    with pytest.raises(ConfigurationError, match="run `counterfoil migrate`"):
        migrations.require_head(empty_database_url)


# --- whose database it is ---------------------------------------------------------------------------------------------

FOREIGN = {
    "a table in mirror": ["CREATE SCHEMA mirror", "CREATE TABLE mirror.accounts (id int)"],
    "an empty schema mirror": ["CREATE SCHEMA mirror"],
    "a table in counterfoil": ["CREATE SCHEMA counterfoil", "CREATE TABLE counterfoil.stubs (id int)"],
    "a view in counterfoil": ["CREATE SCHEMA counterfoil", "CREATE VIEW counterfoil.stubs AS SELECT 1"],
    "a function in counterfoil": ["CREATE SCHEMA counterfoil", "CREATE FUNCTION counterfoil.f() RETURNS int RETURN 1"],
    "a type next to an empty version table": [
        "CREATE SCHEMA counterfoil",
        "CREATE TABLE counterfoil.alembic_version (version_num varchar(32) PRIMARY KEY)",
        "CREATE TYPE counterfoil.state AS ENUM ('x')",
    ],
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("attempt", [migrations.upgrade, migrations.require_head])
def test_another_program_s_schema_is_refused_and_left_alone(empty_database_url, what, attempt):
    run(empty_database_url, *FOREIGN[what])
    before = objects(empty_database_url)
    with pytest.raises(ConfigurationError, match="Counterfoil did not make it"):
        attempt(empty_database_url)
    assert objects(empty_database_url) == before


@pytest.mark.parametrize("attempt", [migrations.upgrade, migrations.require_head])
def test_a_newer_schema_is_refused_and_left_alone(database_url, attempt):
    run(database_url, "UPDATE counterfoil.alembic_version SET version_num = '9999'")
    before = objects(database_url)
    with pytest.raises(ConfigurationError, match=r"revision 9999.*newer version"):
        attempt(database_url)
    assert objects(database_url) == before
    assert revisions(database_url) == [("9999",)]


def test_tables_elsewhere_in_the_database_are_nobody_s_business(empty_database_url):
    run(empty_database_url, "CREATE TABLE accounts (id int)", "CREATE TABLE alembic_version (version_num text)")
    assert migrations.upgrade(empty_database_url) == (None, migrations.head())


def test_what_an_interrupted_first_migration_left_is_our_own(empty_database_url):
    run(
        empty_database_url,
        "CREATE SCHEMA counterfoil",
        "CREATE TABLE counterfoil.alembic_version (version_num varchar(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
    )
    assert migrations.upgrade(empty_database_url) == (None, migrations.head())


def test_a_database_that_cannot_hold_every_name_is_refused(postgres_server):
    name = f"counterfoil_test_{uuid.uuid4().hex[:12]}"
    postgres_server.execute("CREATE DATABASE {} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0", name)
    try:
        with pytest.raises(ConfigurationError, match=r"LATIN1.*UTF8"):
            migrations.upgrade(postgres_server.url(name))
    finally:
        postgres_server.execute("DROP DATABASE {}", name)


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner(postgres_server, empty_database_url) -> Iterator[str]:
    """The URL of the empty database for a role that owns it and may do nothing else."""
    name, password = f"counterfoil_test_{uuid.uuid4().hex[:12]}", "o w'n%er"
    database = conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    run(postgres_server.admin_url, f"CREATE ROLE {name} LOGIN PASSWORD '{password.replace(chr(39), chr(39) * 2)}'")
    run(empty_database_url, f'ALTER DATABASE "{database}" OWNER TO {name}')
    yield with_password(
        sa.make_url(empty_database_url).set(username=name).render_as_string(hide_password=False), password
    )
    run(empty_database_url, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}")
    run(postgres_server.admin_url, f"DROP ROLE {name}")


@pytest.fixture
def absent_role(postgres_server, monkeypatch) -> Iterator[str]:
    """A role of ours that the server does not have yet; the real ones may be in use by other databases."""
    name = f"counterfoil_test_{uuid.uuid4().hex[:12]}"
    monkeypatch.setattr(migrations, "ROLES", (*migrations.ROLES, name))
    yield name
    run(postgres_server.admin_url, f"DROP ROLE IF EXISTS {name}")


def test_one_who_may_not_create_roles_is_told_the_sql_and_can_go_on_after_it_ran(
    postgres_server, template_database, owner, absent_role
):
    assert template_database  # which made the roles that every database of the server shares
    before = objects(owner)
    with pytest.raises(ConfigurationError) as refused:
        migrations.upgrade(owner)
    message = str(refused.value)
    assert message.endswith(f"let an administrator run: CREATE ROLE {absent_role} NOLOGIN;")
    assert objects(owner) == before
    run(postgres_server.admin_url, message.partition("run: ")[2])
    assert migrations.upgrade(owner) == (None, migrations.head())
    run(owner, "SELECT * FROM mirror.deals", "INSERT INTO counterfoil.asked VALUES ('live', 1, 1, 1, now())")


def test_one_who_may_not_create_schemas_is_told_so(postgres_server, template_database, owner, empty_database_url):
    assert template_database
    database = conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    run(postgres_server.admin_url, f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER')
    with pytest.raises(ConfigurationError, match="permission denied for database"):
        migrations.upgrade(owner)


# --- at once, and interrupted -----------------------------------------------------------------------------------------


def test_two_threads_that_migrate_at_once_both_succeed(empty_database_url):
    together = threading.Barrier(3)

    def migrate(_: int) -> tuple[str | None, str]:
        together.wait(20)
        return migrations.upgrade(empty_database_url)

    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(migrate, range(3)))
    assert sorted(str(before) for before, _ in done) == [migrations.head()] * 2 + ["None"]
    assert revisions(empty_database_url) == [(migrations.head(),)]


def test_two_processes_that_migrate_at_once_both_succeed(empty_database_url):
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=migrations.upgrade, args=(empty_database_url,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert revisions(empty_database_url) == [(migrations.head(),)]


def test_databases_of_one_server_can_be_migrated_at_once(postgres_server):
    with postgres_server.database() as first, postgres_server.database() as second, ThreadPoolExecutor(2) as threads:
        assert list(threads.map(migrations.upgrade, (first, second))) == [(None, migrations.head())] * 2


@pytest.mark.parametrize("table", ["accounts", "transactions"])
def test_a_migration_that_breaks_in_the_middle_leaves_nothing_and_can_be_run_again(empty_database_url, table):
    run(
        empty_database_url,
        f"""
        CREATE FUNCTION pull_the_plug() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF to_regclass('mirror.{table}') IS NOT NULL THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        END $$""",
        "CREATE EVENT TRIGGER pull_the_plug ON ddl_command_end EXECUTE FUNCTION pull_the_plug()",
    )
    with pytest.raises(Unreachable):
        migrations.upgrade(empty_database_url)
    run(empty_database_url, "DROP EVENT TRIGGER pull_the_plug", "DROP FUNCTION pull_the_plug()")
    left = {(schema, name) for schema, name, _ in objects(empty_database_url) if schema != "public"}
    assert left <= {("counterfoil", None), ("counterfoil", "alembic_version"), ("counterfoil", "alembic_version_pkc")}
    assert migrations.upgrade(empty_database_url) == (None, migrations.head())


def test_a_migration_does_not_queue_behind_a_reader_for_long(database_url, monkeypatch):
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "100ms")
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM counterfoil.quarantine")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            migrations.run(database_url, lambda config: command.downgrade(config, "base"))
    # The revision that needs no lock on the reader's table is undone, the one that does is whole.
    assert revisions(database_url) == [("0001",)]
    assert migrations.upgrade(database_url) == ("0001", migrations.head())
