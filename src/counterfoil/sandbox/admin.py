"""`/_sandbox/...`: the books' own truth, the faults in force, and the market's levers. No login, not journalled."""

from collections.abc import Callable, Iterator, Sized
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from counterfoil.sandbox.books import UnknownRowError
from counterfoil.sandbox.desk import FaultDesk
from counterfoil.sandbox.faults import FaultError
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.text import ENCODER

PREFIX: Final = "/_sandbox/"
_MOST_ROUNDS: Final = 100_000

T = TypeVar("T")


class _Rounds(msgspec.Struct, forbid_unknown_fields=True):
    rounds: int = 1


class _Count(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 1


class _Place(msgspec.Struct, forbid_unknown_fields=True):
    resource: str
    id: int


class OpenBooks(Protocol):
    """What the back door asks of the books of any platform."""

    def truth(self) -> dict[str, Any]:
        """Counts, money by account, and what is wrong."""
        ...

    def table(self, resource: str) -> Sized:
        """The rows of a resource, to be counted. Raises UnknownRowError."""
        ...

    def rows(self, resource: str) -> Iterator[bytes]:
        """Every row's JSON."""
        ...

    def trade(self, rounds: int = 1) -> None:
        """Let the market run."""
        ...

    def late(self, count: int = 1) -> list[int]:
        """Let deals enter late; their ids."""
        ...

    def delete(self, resource: str, key: int) -> None:
        """Make a row disappear."""
        ...

    def touch(self, resource: str, key: int) -> None:
        """Change a row."""
        ...


class Admin:
    """The sandbox's back door."""

    def __init__(self, books: OpenBooks, desk: FaultDesk) -> None:
        self._books = books
        self._desk = desk
        self._actions: dict[tuple[str, str], Callable[[web.Request, bytes], object]] = {
            ("GET", "health"): lambda _request, _body: {"ok": True},
            ("GET", "books"): self._show_books,
            ("GET", "faults"): lambda _request, _body: {"faults": self._desk.describe()},
            ("PUT", "faults"): self._set_faults,
            ("POST", "trade"): self._trade,
            ("POST", "late"): self._late,
            ("POST", "delete"): self._delete,
            ("POST", "touch"): self._touch,
        }

    async def answer(self, request: web.Request) -> web.Response:
        """Run one action; 400 with a reason when it cannot be done, 404 when there is no such action or row."""
        action = self._actions.get((request.method, request.path.removeprefix(PREFIX)))
        if action is None:
            return _json({"error": "no such action"}, 404)
        try:
            result = action(request, await request.read())
        except UnknownRowError as error:
            return _json({"error": str(error)}, 404)
        except (FaultError, RefusedError, msgspec.DecodeError) as error:
            return _json({"error": str(error)}, 400)
        return _json(result, 200)

    def _show_books(self, request: web.Request, _body: bytes) -> object:
        resource = request.query.get("resource")
        if resource is None:
            return self._books.truth()
        if request.query.get("full") != "1":
            return {"resource": resource, "count": len(self._books.table(resource))}
        return {"resource": resource, "rows": [msgspec.Raw(row) for row in self._books.rows(resource)]}

    def _set_faults(self, _request: web.Request, body: bytes) -> object:
        self._desk.set(msgspec.json.decode(body))
        return {"faults": self._desk.describe()}

    def _trade(self, _request: web.Request, body: bytes) -> object:
        rounds = _decode(body, _Rounds).rounds
        if not 0 <= rounds <= _MOST_ROUNDS:
            raise RefusedError(f"rounds must be 0 to {_MOST_ROUNDS}")
        self._books.trade(rounds)
        return {"rounds": rounds, "deals": len(self._books.table("deals"))}

    def _late(self, _request: web.Request, body: bytes) -> object:
        return {"ids": self._books.late(_decode(body, _Count).count)}

    def _delete(self, _request: web.Request, body: bytes) -> object:
        place = _decode(body, _Place)
        self._books.delete(place.resource, place.id)
        return {"deleted": place.id}

    def _touch(self, _request: web.Request, body: bytes) -> object:
        place = _decode(body, _Place)
        self._books.touch(place.resource, place.id)
        return {"touched": place.id}


def _decode(body: bytes, shape: type[T]) -> T:
    return msgspec.json.decode(body or b"{}", type=shape)


def _json(value: Any, status: int) -> web.Response:
    return web.Response(body=ENCODER.encode(value), status=status, content_type="application/json")
