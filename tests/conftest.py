"""Fixtures that every floor shares: a real PostgreSQL, and a fresh database with or without the schema."""

from collections.abc import Iterator

import pytest

from support.postgres import Server, any_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One server a test process; without one the run fails, nothing is skipped."""
    with any_server() as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres_server: Server) -> Iterator[str]:
    """The name of a database with the schema, to clone from."""
    from counterfoil.store import migrations  # noqa: PLC0415 - a broken migration must not stop tests without one

    with postgres_server.template(migrations.upgrade) as name:
        yield name


@pytest.fixture
def database_url(postgres_server: Server, template_database: str) -> Iterator[str]:
    """The URL of a fresh database with the schema."""
    with postgres_server.database(template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: Server) -> Iterator[str]:
    """The URL of a fresh database with nothing in it."""
    with postgres_server.database() as url:
        yield url
