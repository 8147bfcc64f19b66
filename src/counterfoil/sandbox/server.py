"""A simulated platform on a socket: HTTP around its API, the faults of the transport, start and end."""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Final, Self

import msgspec
from aiohttp import web

from counterfoil.sandbox import faults as f
from counterfoil.sandbox import journal
from counterfoil.sandbox.admin import PREFIX, Admin
from counterfoil.sandbox.calls import Call, Flood, Reply, Route
from counterfoil.sandbox.desk import FaultDesk
from counterfoil.sandbox.journal import Entry, Journal
from counterfoil.sandbox.kinds import kind
from counterfoil.sandbox.options import SandboxOptions

_MARKED: ContextVar[bool] = ContextVar("_MARKED", default=False)
_HTML: Final = "<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"
_SLASHES: Final = re.compile("/+")
_GRACE: Final = 2.0
_LOOK: Final = 0.02


class Sandbox:
    """A running simulated platform. Making one builds its books; `start` opens the socket."""

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = options or SandboxOptions()
        wish = self.options
        chosen = kind(wish.kind)
        self.faults = FaultDesk(chosen.faults)
        if wish.faults is not None:
            self.faults.load(wish.faults)
        self.books, self.platform, self.login = chosen.make(wish)
        if self.platform.feed is not None:
            self.platform.feed.obey(self.faults)
        self.requests = Journal()
        self._admin = Admin(self.books, self.faults)
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._market: asyncio.Task[None] | None = None
        self._port = wish.port

    @property
    def url(self) -> str:
        """Where it listens; the port is known after `start`."""
        return f"http://{self.options.host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_mark)
        self._closing.clear()
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_GRACE)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.options.host, self._port).start()
        except OSError:
            await self._runner.cleanup()
            self._runner = None
            raise
        self._port = self._runner.addresses[0][1]
        if self.options.tick is not None:
            self._market = asyncio.create_task(self._run_market(self.options.tick))

    async def stop(self) -> None:
        """Close every connection, deaf ones included; the books stay readable. May be started again on the same port."""
        self._closing.set()
        if self.platform.feed is not None:
            self.platform.feed.close()
        if self._market is not None:
            self._market.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._market
            self._market = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _run_market(self, tick: float) -> None:
        while True:
            await asyncio.sleep(tick)
            self.books.trade()

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith(PREFIX):
            return await self._admin.answer(request)
        path = _SLASHES.sub("/", request.path)
        route = self.platform.resolve(request.method, path)
        body = await request.read()
        entry = Entry(request.method, path, request.query_string, body, journal.now(), route.target)
        with self.requests.open(entry):
            call = Call(
                method=request.method,
                path=path,
                query=request.query,
                authorization=request.headers.get("Authorization", ""),
                accept=request.headers.get("Accept", ""),
                content_type=request.headers.get("Content-Type", ""),
                body=body,
                remote=request.remote or "",
            )
            if self.platform.feed is None or route.target != f.STREAM or call.method != "GET":
                return _noted(entry, request, await self._answer(request, call, route))
            if (early := await self._early(request, route)) is not None:
                return _noted(entry, request, early)
        # A stream may stay open for as long as we run: it is no request that is under way.
        return await self.platform.feed.serve(request)

    async def _early(self, request: web.Request, route: Route) -> web.StreamResponse | None:
        """What the faults answer in place of a stream; None: nothing."""
        struck = self.faults.pick(request.method, request.path, route.target)
        _MARKED.set(not struck.has(f.Unmark))
        return await self._before(request, route, struck)

    async def _answer(self, request: web.Request, call: Call, route: Route) -> web.StreamResponse:
        struck = self.faults.pick(call.method, call.path, route.target)
        _MARKED.set(not struck.has(f.Unmark))
        if not struck.armed:
            return _response(self.platform.answer(call, route, struck))
        early = await self._before(request, route, struck)
        if early is not None:
            return early
        reply = self.platform.answer(call, route, struck)
        if reply.status < web.HTTPBadRequest.status_code:
            self.platform.settle(route, struck)
        return await self._after(request, reply, struck)

    async def _before(self, request: web.Request, route: Route, struck: f.Struck) -> web.StreamResponse | None:
        """Faults that strike before the effect; an answer ends the request."""
        if delay := struck.get(f.Delay):
            await self._pause(delay.seconds)
        self.platform.foretell(route, struck)
        if struck.has(f.Deaf):
            await self._wait_for_hang_up(request)
            return _hang_up(request)
        if struck.has(f.DropBefore):
            return _hang_up(request)
        if struck.has(f.ExpireTokens):
            self.platform.expire_tokens()
        refused = self.platform.refusal(struck)
        return None if refused is None else _response(refused)

    async def _after(self, request: web.Request, reply: Reply, struck: f.Struck) -> web.StreamResponse:
        """Faults that strike after the effect."""
        if struck.has(f.DropAfter):
            return _hang_up(request)
        reply = self.platform.distort(reply, struck)
        if struck.has(f.ErrorAfter) or struck.has(f.SuccessFalse):
            return _response(reply)
        if (html := struck.get(f.Html)) is not None:
            return web.Response(text=_HTML, status=html.status, content_type="text/html")
        return await self._send(request, reply, struck)

    async def _send(self, request: web.Request, reply: Reply, struck: f.Struck) -> web.StreamResponse:
        if (huge := struck.get(f.Huge)) is not None:
            return await _stream(request, _flood(self.platform.flood, huge.size), Reply(200, b""))
        if (cut := struck.get(f.Truncated)) is not None:
            kept = reply.body[: len(reply.body) // 2 if cut.keep is None else cut.keep]
            if cut.announce:
                return await _break_off(request, kept, reply)
            reply = msgspec.structs.replace(reply, body=kept)
        if (slow := struck.get(f.SlowBody)) is not None:
            return await _stream(request, self._trickle(reply.body, slow.bytes_per_second), reply)
        return _response(reply)

    async def _wait_for_hang_up(self, request: web.Request) -> None:
        """Until the client goes or the sandbox ends."""
        while not self._closing.is_set() and request.transport is not None and not request.transport.is_closing():
            await self._pause(_LOOK)

    async def _pause(self, seconds: float) -> None:
        """Sleep, yet no longer than the sandbox runs."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _trickle(self, body: bytes, speed: int) -> AsyncIterator[bytes]:
        """A tenth of a second's worth at a time."""
        size = max(1, speed // 10)
        for start in range(0, len(body), size):
            if self._closing.is_set():
                return
            yield body[start : start + size]
            await self._pause(size / speed)


def _noted(entry: Entry, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """The answer, its status in the journal if it still finds somebody."""
    entry.status = answer.status if request.transport and not request.transport.is_closing() else None
    return answer


async def _mark(_request: web.Request, response: web.StreamResponse) -> None:
    """Say that this is no real platform, on every answer of the platform and whatever a fault made of it."""
    if _MARKED.get():
        response.headers["X-Sandbox"] = "1"


def _response(reply: Reply) -> web.Response:
    response = web.Response(body=reply.body, status=reply.status, content_type=reply.content_type)
    if reply.retry_after is not None:
        response.headers["Retry-After"] = str(reply.retry_after)
    return response


def _hang_up(request: web.Request) -> web.Response:
    """Cut the connection; what is returned finds nobody to go to."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _stream(request: web.Request, chunks: AsyncIterator[bytes], reply: Reply) -> web.StreamResponse:
    """The chunks with the status and the type of `reply`."""
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type})
    await response.prepare(request)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


async def _flood(flood: Flood, size: int | None) -> AsyncIterator[bytes]:
    """A body that goes on and on: rows until `size` bytes are out, for ever when it is None."""
    sent = 0
    yield flood.head
    while size is None or sent < size:
        yield flood.row
        sent += len(flood.row)
        await asyncio.sleep(0)
    yield flood.tail


async def _break_off(request: web.Request, kept: bytes, reply: Reply) -> web.StreamResponse:
    """The length of the whole body is promised, and only this is kept of it."""
    headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(kept)
    if request.transport is not None:
        request.transport.close()
    return response


async def _run(options: SandboxOptions) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    sandbox = Sandbox(options)
    sandbox.books.warm("deals")
    async with sandbox:
        sys.stdout.write(f"sandbox {options.kind} listening on {sandbox.url} ({sandbox.login})\n")
        sys.stdout.flush()
        await done.wait()


def serve(options: SandboxOptions) -> int:
    """Run a sandbox until SIGINT or SIGTERM; the exit code. Raises OSError when the port is taken."""
    asyncio.run(_run(options))
    return 0
