"""From the first revision, which knew only the mirror, to the one with the write path."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command

from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.records import TABLES
from counterfoil.store import migrations

CLIENT = """
    INSERT INTO mirror.clients (platform, id, external_id, first_seen_at, changed_at, version)
    VALUES ('live', 7, 'r-1', now(), now(), nextval('mirror.version'))
"""


@pytest.fixture
def mirror_only(empty_database_url) -> str:
    migrations.run(empty_database_url, lambda config: command.upgrade(config, "0001"))
    return empty_database_url


def test_rows_of_the_mirror_survive_and_the_boundary_is_there(mirror_only):
    with psycopg.connect(mirror_only) as connection:
        connection.execute(CLIENT)
    assert migrations.upgrade(mirror_only) == ("0001", migrations.head())
    with psycopg.connect(mirror_only) as connection:
        assert connection.execute("SELECT id, external_id FROM mirror.clients").fetchall() == [(7, "r-1")]
        assert connection.execute("SELECT count(*) FROM crm.operations").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) > 100 FROM counterfoil.transition_rule").fetchall() == [(True,)]


@pytest.mark.parametrize(("revision", "schema"), [("0001", "crm"), ("0001", "analytics"), ("0003", "analytics")])
def test_a_schema_of_somebody_else_that_came_before_ours_is_not_touched(mirror_only, revision, schema):
    migrations.run(mirror_only, lambda config: command.upgrade(config, revision))
    with psycopg.connect(mirror_only) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    for attempt in (migrations.upgrade, migrations.require_head):
        with pytest.raises(ConfigurationError, match=f"schema {schema} exists .* but Counterfoil did not make it"):
            attempt(mirror_only)
    with psycopg.connect(mirror_only) as connection:
        assert connection.execute("SELECT version_num FROM counterfoil.alembic_version").fetchall() == [(revision,)]


def test_the_way_back_leaves_the_mirror_and_nothing_of_the_write_path(mirror_only):
    migrations.upgrade(mirror_only)
    migrations.run(mirror_only, lambda config: command.downgrade(config, "0001"))
    with psycopg.connect(mirror_only) as connection:
        left = connection.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'counterfoil'::regnamespace"
        ).fetchall()
        assert left == [("take_token",)]
        assert connection.execute("SELECT to_regclass('counterfoil.intents')").fetchall() == [(None,)]
        assert connection.execute("SELECT to_regclass('mirror.clients') IS NOT NULL").fetchall() == [(True,)]


def test_nobody_who_reads_waits_while_the_index_is_built(database_url):
    migrations.run(database_url, lambda config: command.downgrade(config, "0005"))
    waits = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock' AND relation = 'mirror.deals'::regclass"
    )
    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(database_url) as writer,
        psycopg.connect(database_url, autocommit=True, options="-c lock_timeout=1s") as reader,
    ):
        writer.execute("LOCK TABLE mirror.deals IN ROW EXCLUSIVE MODE")
        upgraded = pool.submit(migrations.upgrade, database_url)
        while not upgraded.done() and reader.execute(waits).fetchone() != (1,):
            pass
        for table in TABLES:
            reader.execute(f"SELECT count(*) FROM mirror.{table}")
        assert not upgraded.done()
        writer.rollback()
        assert upgraded.result() == ("0005", migrations.head())
