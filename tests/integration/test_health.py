"""The health pages, asked over a real socket."""

import asyncio
import socket

import httpx
import pytest
import structlog

from counterfoil.domain.errors import ConfigurationError, TransientError
from counterfoil.observe.health import HealthServer


@pytest.fixture
async def serve():
    """Start a server with this readiness; returns a client for it."""
    closing = []

    async def start(readiness=None, **settings):
        server = HealthServer("127.0.0.1", 0, readiness or nothing_in_the_way, **settings)
        port = await server.start()
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        closing.extend((client.aclose, server.stop))
        return client

    yield start
    for close in closing:
        await close()


async def nothing_in_the_way():
    return []


async def test_a_turning_loop_is_healthy(serve):
    answer = await (await serve()).get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_readiness_without_reasons_is_ready(serve):
    answer = await (await serve()).get("/readyz")
    assert (answer.status_code, answer.text) == (200, "ready\n")


async def test_reasons_come_one_a_line(serve):
    async def readiness():
        return ["database: does not\nanswer", "platform live: never logged in"]

    answer = await (await serve(readiness)).get("/readyz")
    assert (answer.status_code, answer.text) == (503, "database: does not answer\nplatform live: never logged in\n")


async def test_a_daemon_that_is_not_ready_is_still_healthy(serve):
    async def readiness():
        return ["database: does not answer"]

    assert (await (await serve(readiness)).get("/healthz")).status_code == 200


async def test_readiness_that_raises_is_not_ready_and_says_no_more_than_the_class(serve):
    async def readiness():
        raise RuntimeError("postgresql://user:hunter2@db")

    answer = await (await serve(readiness)).get("/readyz")
    assert (answer.status_code, answer.text) == (503, "readiness could not be told: RuntimeError\n")


async def test_readiness_that_raises_an_error_of_ours_says_its_line(serve):
    async def readiness():
        raise TransientError("database: connection refused")

    answer = await (await serve(readiness)).get("/readyz")
    assert (answer.status_code, answer.text) == (503, "database: connection refused\n")


async def test_readiness_that_takes_too_long_is_not_ready(serve):
    async def readiness():
        await asyncio.Event().wait()

    answer = await (await serve(readiness, patience=0.01)).get("/readyz")
    assert (answer.status_code, answer.text) == (503, "readiness could not be told within 0.01 s\n")


async def test_a_credential_in_a_reason_is_masked(serve):
    async def readiness():
        return ["cannot reach postgresql://user:hunter2@db/x"]

    assert "hunter2" not in (await (await serve(readiness)).get("/readyz")).text


async def test_metrics_are_served_as_prometheus_text(serve):
    answer = await (await serve()).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'counterfoil_events_total{event="http.listening"' in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_is_answered_without_a_body(serve, path):
    answer = await (await serve()).head(path)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_another_path_is_not_found(serve):
    assert (await (await serve()).get("/admin")).status_code == 404


async def test_another_method_is_refused(serve):
    assert (await (await serve()).post("/healthz")).status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/admin"])
async def test_the_server_does_not_tell_its_versions(serve, path):
    assert (await (await serve()).get(path)).headers["Server"] == "counterfoil"


async def test_the_real_port_is_said_when_zero_was_asked_for():
    server = HealthServer("127.0.0.1", 0, nothing_in_the_way)
    with structlog.testing.capture_logs() as said:
        port = await server.start()
    await server.stop()
    assert said == [{"event": "http.listening", "log_level": "info", "host": "127.0.0.1", "port": port}]


async def test_a_port_in_use_is_one_line_about_the_setting():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=rf"^http\.listen: cannot listen on 127\.0\.0\.1:{port} \(.+\); .+$"
        ):
            await HealthServer("127.0.0.1", port, nothing_in_the_way).start()


async def test_an_address_that_is_not_here_is_one_line_about_the_setting():
    with pytest.raises(ConfigurationError, match=r"^http\.listen: cannot listen on 192\.0\.2\.1:0 \(.+\); .+$"):
        await HealthServer("192.0.2.1", 0, nothing_in_the_way).start()


async def test_a_stopped_server_listens_no_more():
    server = HealthServer("127.0.0.1", 0, nothing_in_the_way)
    port = await server.start()
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_stopping_what_never_started_does_nothing():
    server = HealthServer("127.0.0.1", 0, nothing_in_the_way)
    assert await server.stop() is None
