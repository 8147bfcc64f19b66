"""The schema as the migrations leave it: equal to the tables, explained, and readable by its roles alone."""

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from counterfoil.store import migrations, tables, write_tables
from counterfoil.store.engine import sync_url

ROLES = ("counterfoil_crm", "counterfoil_reader")

# All that a table is to its users, read from the catalogue of the server.
FACTS = """
    SELECT 'column', c.oid::regclass::text || '.' || a.attname, format_type(a.atttypid, a.atttypmod)
        || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || a.attidentity::text || coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
        col_description(c.oid, a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind = 'r' AND NOT a.attisdropped AND c.relnamespace::regnamespace::text IN ('mirror', 'counterfoil')
        AND c.relname <> 'alembic_version'
    UNION ALL
    SELECT 'relation', c.oid::regclass::text, c.relkind::text || c.relpersistence::text, obj_description(c.oid)
    FROM pg_class c
    WHERE c.relnamespace::regnamespace::text IN ('mirror', 'counterfoil') AND c.relname NOT LIKE 'alembic_version%'
    UNION ALL
    SELECT 'index', indexname, indexdef, NULL FROM pg_indexes
    WHERE schemaname IN ('mirror', 'counterfoil') AND indexname NOT LIKE 'alembic_version%'
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid), NULL FROM pg_constraint
    WHERE connamespace::regnamespace::text IN ('mirror', 'counterfoil') AND conname NOT LIKE 'alembic_version%'
"""
# What create_all does not make.
MORE = """
    SELECT 'function', oid::regprocedure::text, prosrc || coalesce(proacl::text, ''), obj_description(oid, 'pg_proc') FROM pg_proc
    WHERE pronamespace::regnamespace::text IN ('mirror', 'counterfoil', 'crm', 'analytics')
    UNION ALL
    SELECT 'schema', nspname, regexp_replace(nspacl::text, '\\m\\w+(?==UC|/|,|})', 'owner', 'g'),
        obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname IN ('mirror', 'counterfoil', 'crm', 'analytics')
    UNION ALL
    SELECT 'view', viewname, definition, NULL FROM pg_views WHERE schemaname = 'crm'
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid) || tgenabled::text, NULL FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'revision', version_num, NULL, NULL FROM counterfoil.alembic_version
"""


def facts(url: str, statement: str) -> set[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return set(connection.execute(statement).fetchall())


@pytest.fixture
def connection(database_url: str) -> Iterator[sa.Connection]:
    # A schema called like the role is its default schema, under no name at all to alembic.
    engine = sa.create_engine(
        sync_url(database_url), poolclass=sa.pool.NullPool, connect_args={"options": "-c search_path=public"}
    )
    with engine.connect() as connected:
        yield connected
    engine.dispose()


def test_the_scripts_are_one_line_of_the_revisions_that_the_code_knows():
    scripts = ScriptDirectory.from_config(migrations._config())
    assert scripts.get_heads() == [migrations.head()]
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == migrations.REVISIONS


# It does not understand generated columns; the server's own comparison below does.
@pytest.mark.filterwarnings("ignore:Computed default")
def test_alembic_finds_no_difference_between_migrations_and_tables(connection):
    options = {
        "include_schemas": True,
        "compare_type": True,
        "compare_server_default": True,
        "version_table": migrations.VERSION_TABLE,
        "version_table_schema": migrations.VERSION_SCHEMA,
    }
    assert compare_metadata(MigrationContext.configure(connection, opts=options), write_tables.metadata) == []


def test_the_server_finds_no_difference_between_migrations_and_tables(database_url, empty_database_url):
    engine = sa.create_engine(sync_url(empty_database_url), poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA mirror; CREATE SCHEMA counterfoil")
        write_tables.metadata.create_all(connection)
    engine.dispose()
    made = facts(empty_database_url, FACTS)
    assert len(made) > 500
    assert facts(database_url, FACTS) == made


def test_down_and_up_again_gives_the_same_schema(database_url):
    from alembic import command  # noqa: PLC0415 - one test needs it

    before = facts(database_url, FACTS) | facts(database_url, MORE)
    migrations.run(database_url, lambda config: command.downgrade(config, "base"))
    left = facts(
        database_url,
        "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text IN ('mirror', 'counterfoil', 'crm', 'analytics')",
    )
    assert left == {("alembic_version",), ("alembic_version_pkc",)}
    assert migrations.upgrade(database_url) == (None, migrations.head())
    assert facts(database_url, FACTS) | facts(database_url, MORE) == before


def test_the_printed_sql_gives_the_same_schema(database_url, empty_database_url):
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(migrations.upgrade_sql())
    assert facts(empty_database_url, FACTS) == facts(database_url, FACTS)
    assert facts(empty_database_url, MORE) == facts(database_url, MORE)
    assert migrations.upgrade(empty_database_url) == (migrations.head(), migrations.head())


# --- explained --------------------------------------------------------------------------------------------------------


def test_every_table_and_column_is_explained_and_says_what_null_means(database_url):
    explained = [(name, comment) for kind, name, _, comment in facts(database_url, FACTS) if kind == "column"]
    assert len(explained) > 400
    assert [name for name, comment in explained if "null" not in (comment or "").lower()] == []
    relations = [row for row in facts(database_url, FACTS) if row[0] == "relation" and row[2][0] == "r"]
    assert len(relations) == len(write_tables.metadata.tables)
    assert [name for _, name, _, comment in relations if not comment] == []
    schemas = {name: comment for kind, name, _, comment in facts(database_url, MORE) if kind == "schema"}
    assert all(schemas[name] for name in ("mirror", "counterfoil", "analytics"))


def test_a_column_says_never_null_exactly_where_the_table_refuses_null():
    columns = [column for table in write_tables.metadata.tables.values() for column in table.columns]
    wrong = [
        str(column) for column in columns if column.nullable == (column.comment or "").lower().endswith("never null")
    ]
    assert wrong == []


def test_numbers_of_the_platform_have_no_scale_that_could_round_them():
    numerics = [
        column for table in tables.MIRROR.values() for column in table.columns if isinstance(column.type, sa.Numeric)
    ]
    assert len(numerics) > 100
    assert {(column.type.precision, column.type.scale, column.type.asdecimal) for column in numerics} == {
        (None, None, True)
    }


# --- roles ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=ROLES)
def role(request, connection) -> str:
    connection.execute(sa.text(f"SET ROLE {request.param}"))
    connection.commit()
    return request.param


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("table", tables.MIRROR)
def test_roles_read_every_table_of_the_mirror_and_write_none(connection, table):
    assert connection.scalar(sa.text(f"SELECT count(*) FROM mirror.{table}")) == 0
    connection.rollback()
    for attempt in (
        f"INSERT INTO mirror.{table} (platform, id, first_seen_at, changed_at, version) VALUES ('x', 1, now(), now(), 1)",
        f"UPDATE mirror.{table} SET version = 1",
        f"DELETE FROM mirror.{table}",
        f"TRUNCATE mirror.{table}",
    ):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            connection.execute(sa.text(attempt))
        connection.rollback()


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT 1 FROM counterfoil.sessions",
        "SELECT 1 FROM counterfoil.quarantine",
        "SELECT 1 FROM counterfoil.alembic_version",
        "SELECT counterfoil.take_token('x', 1, 1, 1, 0, 0, true, gen_random_uuid(), 1)",
        "SELECT counterfoil.take_turn('x', 1, 1, 1, 0, 0, true, gen_random_uuid(), 1, '{}', '{}')",
        "SELECT counterfoil.take_turns('x', 1, 1, 1, 0, 0, true, ARRAY[gen_random_uuid()], 1, '{}', '{}')",
        "SELECT counterfoil.lock_versions()",
        "SELECT counterfoil.draw_versions(1)",
        "SELECT nextval('mirror.version')",
        "CREATE TABLE mirror.mine ()",
        "CREATE TABLE counterfoil.mine ()",
    ],
)
def test_roles_neither_see_the_daemon_s_own_schema_nor_make_anything(connection, attempt):
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        connection.execute(sa.text(attempt))


def test_roles_cannot_log_in_or_do_more_than_read(connection):
    rights = "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = ANY(:roles) ORDER BY 1"
    found = connection.execute(sa.text(rights), {"roles": list(ROLES)}).all()
    assert found == [(role, False, False, False, False) for role in ROLES]


def test_a_table_that_a_later_migration_adds_can_be_read_too(connection):
    connection.execute(sa.text("CREATE TABLE mirror.later ()"))
    readable = "SELECT has_table_privilege(:role, 'mirror.later', 'SELECT'), has_table_privilege(:role, 'mirror.later', 'INSERT')"
    assert [connection.execute(sa.text(readable), {"role": role}).one() for role in ROLES] == [(True, False)] * 2
