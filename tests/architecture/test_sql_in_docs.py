"""The SQL that the documentation shows runs on the schema of this version."""

from dataclasses import replace

import psycopg
from psycopg import errors

from architecture.test_documentation import PAGES, blocks
from architecture.tree import named
from support.boundary import LIVE, publish

# The pages call OMTrader `live` and cTrader `ct_live`.
CT_LIVE = replace(LIVE, platform="ct_live", kind="ctrader", account_defaults={}, reference_field="externalId")


def complaint(connection: psycopg.Connection, sql: str) -> str | None:
    """What PostgreSQL has against it; nothing is kept."""
    try:
        connection.execute(sql.encode())
    except errors.DuplicateObject as error:
        # The roles are there: the migration made them.
        return None if sql.startswith("CREATE ROLE") else str(error)
    except psycopg.Error as error:
        return str(error)
    finally:
        connection.rollback()
    return None


def test_what_the_pages_show_runs(database_url):
    shown = [(path, sql) for path in PAGES for sql in blocks(path, "sql")]
    publish(database_url, (LIVE, CT_LIVE))
    with psycopg.connect(database_url) as connection:
        wrong = [f"{named(path)}: {sql}{reason}" for path, sql in shown if (reason := complaint(connection, sql))]
        assert len(shown) > 5
        assert complaint(connection, "SELECT nothing FROM nowhere") is not None
    assert wrong == [], "show SQL that runs as it stands"
