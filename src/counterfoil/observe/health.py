"""The daemon's health over HTTP: /healthz, /readyz and /metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from counterfoil.domain.errors import ConfigurationError, CounterfoilError
from counterfoil.observe import events, metrics
from counterfoil.observe.redaction import one_line, redact

Readiness = Callable[[], Awaitable[Sequence[str]]]
"""Tells what is in the way of being ready, one reason an item; empty when nothing is."""

_PATIENCE: Final = 2.0
"""Seconds that readiness may take; who asks gives up soon after."""


class HealthServer:
    """Serves the three pages; `start` and `stop` it in the same event loop.

    `patience`: seconds that `readiness` may take before the answer is "not ready".
    """

    def __init__(self, host: str, port: int, readiness: Readiness, *, patience: float = _PATIENCE) -> None:
        self._host = host
        self._port = port
        self._readiness = readiness
        self._patience = patience
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and return the port: the real one when 0 was asked for.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        runner = web.AppRunner(
            self._application(), access_log=None, handle_signals=False, shutdown_timeout=self._patience
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            reason = one_line(getattr(error, "strerror", None) or str(error))
            raise ConfigurationError(
                f"http.listen: cannot listen on {self._host}:{self._port} ({reason}); write a free address and port"
            ) from error
        self._runner = runner
        port = int(runner.addresses[0][1])
        events.emit(events.HTTP_LISTENING, host=self._host, port=port)
        return port

    async def stop(self) -> None:
        """Stop listening; answers under way finish. Does nothing when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=0)
        application.on_response_prepare.append(_anonymous)
        application.router.add_get("/healthz", _alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/metrics", _metrics)
        return application

    async def _ready(self, _: web.Request) -> web.Response:
        reasons = await self._reasons()
        if not reasons:
            return web.Response(text="ready\n")
        lines = [redact(one_line(reason)) for reason in reasons]
        return web.Response(status=503, text="\n".join(lines) + "\n")

    async def _reasons(self) -> Sequence[str]:
        try:
            async with asyncio.timeout(self._patience):
                return await self._readiness()
        except TimeoutError:
            return [f"readiness could not be told within {self._patience:g} s"]
        except CounterfoilError as error:
            return [str(error)]
        except Exception as error:  # noqa: BLE001 - whatever the probe raises, the answer is 503 and a reason
            return [f"readiness could not be told: {type(error).__name__}"]


async def _alive(_: web.Request) -> web.Response:
    # That this line runs is the proof: the event loop turns.
    return web.Response(text="ok\n")


async def _metrics(_: web.Request) -> web.Response:
    body, content_type = metrics.render()
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _anonymous(_: web.Request, response: web.StreamResponse) -> None:
    # The library would name itself, Python and their versions.
    response.headers["Server"] = "counterfoil"
