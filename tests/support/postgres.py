"""PostgreSQL for the tests: one server a test process, one template database with the schema, one clone a test."""

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
from psycopg import conninfo, sql

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store.embedded import EmbeddedPostgres

URL_VARIABLE = "COUNTERFOIL_TEST_DATABASE_URL"
CONTAINER_IMAGE = "postgres:16"
ENGINE_SECONDS = 2  # a Docker engine that needs longer to answer is none
CONTAINER_SECONDS = 60


class NoPostgres(RuntimeError):  # noqa: N818 - a condition of the machine, read as a sentence
    """This way to a server does not exist here; the message says why."""


@dataclass(frozen=True)
class Server:
    """A server on which tests may make and drop databases."""

    admin_url: str  # of a superuser or at least a role that may create databases and roles
    origin: str  # where it came from, for people

    def url(self, database: str) -> str:
        """The server's URL with another database."""
        scheme, rest = self.admin_url.split("://", 1)
        authority, _, tail = rest.partition("/")
        _, question, options = tail.partition("?")
        return f"{scheme}://{authority}/{database}{question}{options}"

    def execute(self, statement: str, *names: str) -> None:
        """Run a statement outside a transaction, with names quoted into its `{}`."""
        with psycopg.connect(self.admin_url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new database, dropped at the end whoever is still connected."""
        name = f"counterfoil_test_{uuid.uuid4().hex[:12]}"
        self.execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        try:
            yield self.url(name)
        finally:
            self.execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    @contextmanager
    def template(self, fill: Callable[[str], None]) -> Iterator[str]:
        """The name of a database that `fill` prepared and nobody can connect to any more.

        A connection, be it of a pool that `fill` left open, would make every clone fail.
        """
        with self.database() as url:
            fill(url)
            name = conninfo.conninfo_to_dict(url)["dbname"]
            assert isinstance(name, str)
            self.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
            self.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
            yield name


def _given(_: ExitStack) -> Server:
    if not (url := os.environ.get(URL_VARIABLE)):
        raise NoPostgres(f"{URL_VARIABLE} is not set")
    return Server(url, URL_VARIABLE)  # a wrong one must fail, not be replaced by another server


def _engine_answers() -> bool:
    """Ask before the docker library does: it waits long for an engine, and leaks the socket when there is none."""
    where = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    local = where.scheme == "unix"
    try:
        with socket.socket(socket.AF_UNIX if local else socket.AF_INET) as connection:
            connection.settimeout(ENGINE_SECONDS)
            connection.connect(where.path if local else (where.hostname, where.port or 2375))
            if os.environ.get("DOCKER_TLS_VERIFY"):
                return True
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except (OSError, ValueError, TypeError):
        return False


def _container(resources: ExitStack) -> Server:
    if not _engine_answers():
        raise NoPostgres("no Docker engine answers")
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - slow, and only for who has Docker

    try:
        container = resources.enter_context(
            PostgresContainer(
                CONTAINER_IMAGE,
                username="counterfoil",
                password="counterfoil",
                driver=None,
                docker_client_kw={"timeout": CONTAINER_SECONDS},
            ).with_command("postgres -c fsync=off")
        )
        return Server(container.get_connection_url(), f"container {CONTAINER_IMAGE}")
    except Exception as error:
        raise NoPostgres(f"Docker cannot run {CONTAINER_IMAGE}: {error}") from error


def _embedded(resources: ExitStack) -> Server:
    try:
        server = resources.enter_context(EmbeddedPostgres.start(durable=False))
    except ConfigurationError as error:
        raise NoPostgres(f"no embedded server: {error}") from error
    return Server(server.url, f"embedded server in {server.directory}")


@contextmanager
def any_server() -> Iterator[Server]:
    """The first server that works here.

    Raises:
        NoPostgres: none does, with the reason of each.
    """
    reasons = []
    for way in (_given, _container, _embedded):
        with ExitStack() as resources:
            try:
                server = way(resources)
            except NoPostgres as error:
                reasons.append(str(error))
            else:
                yield server
                return
    raise NoPostgres("the tests need a PostgreSQL: " + "; ".join(reasons))
