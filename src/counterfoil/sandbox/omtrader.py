"""The simulated OMTrader REST API (reference, sections 2 to 5): who may ask, which path means what, and the answers.

ASSUMED, because nothing public says it (reference, sections 3, 4, 5.9 and 10); everything else follows the reference:

* deals are served under both `trader/deals` and `manager/deals`, a group under both `group/:id` and `groups/:id`
* the keys beside `records` are `total`, `page`, `limit`; `page=-1` is everything; `limit` is 100 when left out and is cut
  silently to the server's own maximum; a page below 1 or an unknown `sort_by` is 400; an unknown `dir` is ascending
* a money transfer is {amount, side (or type) 2 balance / 3 credit, direction 0 in / 1 out, comment}; it answers 201 with a
  deal-like row: `profit` signed, `amount` the positive number of the request; transaction and deal share one id
* a withdrawal above the free margin (credit not counted), or of more credit than there is, is 400
* the transactions history is paged and sorted like the other histories
* an account's login name and personal fields sit in its `user` object
* PUT replaces what it names and keeps the rest; a group of another currency is refused; neither `external_id` nor
  `username` is unique; deleting a client with accounts or an account with open positions or orders is 400
* a client needs first_name and family_name, an account group_id, client_id, username and user_password
* several logins live side by side; `remember_me` has no effect; the refresh token is of no use
* position `exit_level` is always 0; `exit_profit` and `exit_loos` hold what a position has realised so far; swaps of metals
  are booked as `storage`, those of crypto as `fee`, so that every part of a balance occurs
* a trader-scope login sees the deals of its own account only
"""

import base64
import binascii
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from counterfoil.sandbox import faults as f
from counterfoil.sandbox import listing, writes
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.calls import Call, Flood, Reply, Route
from counterfoil.sandbox.feed import PATH, Feed
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.rows import Account, Record, Transaction
from counterfoil.sandbox.text import ENCODER

MANAGER, TRADER = "Manager", "Trader"

_SINGLE_NAMES: Final = {
    **{name: name for name in ("clients", "accounts", "groups", "symbols", "orders", "positions", "deals")},
    "group": "groups",
}
_LISTED: Final = {
    "/api/v1/trader/deals": "deals",
    **{f"/api/v1/manager/{name}": name for name in _SINGLE_NAMES.values()},
    **{f"/api/v1/manager/{name}/history": f"{name}_history" for name in ("orders", "positions")},
}
_SINGLE: Final = re.compile(r"/api/v1/manager/([a-z]+)/(\d{1,19})|/api/v1/trader/(deals)/(\d{1,19})")
_OF_GROUP: Final = re.compile(r"/api/v1/manager/groups?/(\d{1,19})/(commissions|symbols)")
_OF_ACCOUNT: Final = re.compile(r"/api/v1/manager/accounts/(\d{1,19})/transactions/history")
_MONEY: Final = re.compile(r"/api/v1/manager/accounts/(\d{1,19})/money")
_LOGIN: Final = "/api/v1/oauth2/login"
_FLOOD: Final = Flood(
    b'{"success":true,"code":200,"data":{"records":[',
    b'{"id":1,"padding":"' + b"x" * 65_000 + b'"},',
    b'{"id":1}]},"error":"","message":""}',
)
_ERRORS: Final = {403: "Forbidden", 404: "Not Found", 409: "Conflict", 429: "Too Many Requests"}


class Session(msgspec.Struct, frozen=True):
    """Who holds a token, and until when (monotonic seconds)."""

    id: str
    scope: str
    account_id: int
    expires_at: float


class _NotFoundError(Exception):
    """404."""


def resolve(method: str, path: str) -> Route:
    """The route of a request; target `miss` when there is none."""
    if path == _LOGIN and method == "POST":
        return Route(f.LOGIN)
    if (method == "GET" and path == PATH) or (method == "POST" and path.startswith(f"{PATH}/")):
        return Route(f.STREAM, path.removeprefix(PATH).removeprefix("/"))
    if method == "GET":
        return _resolve_read(path)
    return _resolve_write(method, path)


def _resolve_read(path: str) -> Route:
    if path in _LISTED:
        return Route(f.LIST, _LISTED[path])
    if match := _OF_GROUP.fullmatch(path):
        return Route(f.LIST, "commissions" if match[2] == "commissions" else "group_symbols", int(match[1]))
    if match := _OF_ACCOUNT.fullmatch(path):
        return Route(f.LIST, "transactions", int(match[1]))
    match = _SINGLE.fullmatch(path)
    name = _SINGLE_NAMES.get(match[1] or match[3]) if match else None
    return Route(f.SINGLE, name, int(match[2] or match[4])) if match and name else Route(f.MISS)


def _resolve_write(method: str, path: str) -> Route:
    if method == "POST":
        if match := _MONEY.fullmatch(path):
            return Route(f.WRITE, "money", int(match[1]))
        name = _LISTED.get(path)
        return Route(f.WRITE, name) if name in {"clients", "accounts"} else Route(f.MISS)
    match = _SINGLE.fullmatch(path)
    if method in {"PUT", "DELETE"} and match and match[1] in {"clients", "accounts"}:
        return Route(f.WRITE, match[1], int(match[2]))
    return Route(f.MISS)


class OmtraderPlatform:
    """Answers calls from the books. `clock` gives monotonic seconds."""

    def __init__(
        self,
        books: Books,
        users: Mapping[str, tuple[str, str]],
        *,
        token_lifetime: int,
        page_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`users`: login name to (password, scope)."""
        self._books = books
        self._users = users
        self._token_lifetime = token_lifetime
        self._page_limit = page_limit
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self.feed = Feed(books, self._may_listen)

    flood = _FLOOD
    resolve = staticmethod(resolve)

    def expire_tokens(self) -> None:
        """Every token issued so far becomes worthless."""
        self._sessions.clear()
        self.feed.log_out_all()

    def foretell(self, route: Route, struck: f.Struck) -> None:
        """No fault of this platform touches the books so early."""

    def settle(self, route: Route, struck: f.Struck) -> None:
        """The fault `shift`: a row leaves, or enters late."""
        shift = struck.get(f.Shift)
        if shift is not None:
            (self._books.leave_front if shift.action == "delete" else self._books.enter_front)(route.resource)

    def refusal(self, struck: f.Struck) -> Reply | None:
        """The error that a fault answers before anything has happened."""
        if limited := struck.get(f.RateLimited):
            return msgspec.structs.replace(_error(429), retry_after=limited.retry_after)
        if struck.has(f.Forbid):
            return _error(403)
        if before := struck.get(f.ErrorBefore):
            return _error(before.status)
        lie = struck.get(f.SuccessFalse)
        return _lie(lie) if lie is not None and not lie.after else None

    def distort(self, reply: Reply, struck: f.Struck) -> Reply:
        """An answer after its effect, as the faults leave it."""
        if after := struck.get(f.ErrorAfter):
            return _error(after.status)
        if (lie := struck.get(f.SuccessFalse)) is not None:
            return _lie(lie)
        if (shape := struck.get(f.WrongShape)) is not None:
            return Reply(reply.status, listing.envelope(shape.value.encode(), reply.status))
        return reply

    def answer(self, call: Call, route: Route, struck: f.Struck) -> Reply:
        """The answer to a call, its effect included."""
        if route.target == f.LOGIN:
            return self._login(call, struck)
        session = self._session(call)
        if session is None:
            return refuse(401, "Unauthorized", "access token is missing, unknown or expired")
        if session.scope != MANAGER and not call.path.startswith("/api/v1/trader/"):
            return refuse(403, "Forbidden", "manager scope required")
        if route.target == f.STREAM:
            return self._look(route, session)
        return self._guarded(call, route, struck, session)

    def _guarded(self, call: Call, route: Route, struck: f.Struck, session: Session) -> Reply:
        try:
            if route.target == f.LIST:
                return self._list(call, route, struck, session)
            if route.target == f.SINGLE:
                return self._single(route, struck, session)
            if route.target == f.WRITE:
                return self._write(call, route, struck)
        except (listing.BadQueryError, RefusedError) as error:
            return refuse(400, "Invalid Input", str(error))
        except writes.ConflictError as error:
            return refuse(409, "Conflict", str(error))
        except _NotFoundError:
            pass
        return refuse(404, "Not Found", f"nothing at {call.path}")

    # Login (reference, section 2)

    def _login(self, call: Call, struck: f.Struck) -> Reply:
        name, password = _basic(call.authorization)
        expected, scope = self._users.get(name, ("", ""))
        if not scope or not secrets.compare_digest(password.encode(), expected.encode()):
            return refuse(401, "Unauthorized", "wrong username or password")
        now = self._clock()
        self._sessions = {token: held for token, held in self._sessions.items() if held.expires_at > now}
        token = secrets.token_urlsafe(24)
        account_id = 2 if scope == MANAGER else next(iter(self._books.accounts.ids), 0)
        session_id = secrets.token_hex(16)
        self._sessions[token] = Session(session_id, scope, account_id, now + self._token_lifetime)
        data = {
            "account_id": account_id,
            "access_token": token,
            "refresh_token": secrets.token_urlsafe(24),
            "session_id": session_id,
            "expires_in": self._token_lifetime,
            "ip_address": call.remote,
            "scope": scope,
            **({} if struck.has(f.Unmark) else {"sandbox": True}),
        }
        return Reply(200, listing.envelope(ENCODER.encode(data)))

    def _session(self, call: Call) -> Session | None:
        kind, _, token = call.authorization.partition(" ")
        held = self._sessions.get(token.strip()) if kind.lower() == "bearer" else None
        return held if held and held.expires_at > self._clock() else None

    # The stream (reference, section 8)

    def _look(self, route: Route, session: Session) -> Reply:
        """Whether a session is free to be listened with."""
        if route.resource != session.id:
            return refuse(400, "Invalid Input", "session is unknown")
        if self.feed.is_used(session.id):
            return refuse(400, "Invalid Input", "session is already used")
        return Reply(200, listing.envelope(b'"success"'))

    def _may_listen(self, session_id: str, token: str) -> bool:
        held = self._sessions.get(token)
        return held is not None and held.id == session_id and held.scope == MANAGER and held.expires_at > self._clock()

    # Reading (reference, sections 3 to 5)

    def _list(self, call: Call, route: Route, struck: f.Struck, session: Session) -> Reply:
        query = listing.parse(call.query, self._page_limit)
        return Reply(200, listing.envelope(listing.page(self._view(route, session), query, struck)))

    def _view(self, route: Route, session: Session) -> listing.View:
        books = self._books
        ids: Sequence[int] | None = None
        if route.resource == "transactions":
            ids = self._present(books.transactions_of.get(route.key) if route.key in books.accounts.rows else None)
        elif route.key:
            self._present(books.groups.get(route.key))
            table = books.table(route.resource)
            ids = [row.id for row in table if row.fields["group_id"] == route.key]
        elif session.scope == TRADER:
            ids = [deal.id for deal in books.deals if deal.account_id == session.account_id]
        return listing.View(route.resource, books.table(route.resource), ids)

    def _single(self, route: Route, struck: f.Struck, session: Session) -> Reply:
        table = self._books.table(route.resource)
        row = table.get(route.key)
        if row is None and route.resource in {"orders", "positions"} and not struck.has(f.HideClosed):
            table = self._books.table(f"{route.resource}_history")
            row = table.get(route.key)
        row = self._present(row)
        if session.scope == TRADER and row.account_id != session.account_id:
            raise _NotFoundError
        return _entity(table.json(row.id), struck)

    @staticmethod
    def _present(found: Any) -> Any:
        if found is None:
            raise _NotFoundError
        return found

    # Writing (reference, section 5; bodies in `writes`)

    def _write(self, call: Call, route: Route, struck: f.Struck) -> Reply:
        if call.method == "DELETE":
            return self._delete(route)
        wishes = writes.read_body(call.body)
        row: Record | Account | Transaction
        if route.resource == "money":
            row = writes.transfer(self._books, self._account(route), wishes, struck)
        elif route.resource == "clients":
            row = self._write_client(route, wishes, struck)
        elif route.key:
            row = writes.update_account(self._books, self._account(route), wishes, struck)
        else:
            row = writes.create_account(self._books, wishes, struck)
        status = 201 if call.method == "POST" else 200
        if struck.has(f.AnswerText):
            return Reply(status, listing.envelope(b'"success"', status))
        return _entity(row.render(), struck, status=status)

    def _write_client(self, route: Route, wishes: writes.Fields, struck: f.Struck) -> Record:
        if route.key:
            return writes.update_client(self._books, self._client(route), wishes, struck)
        return writes.create_client(self._books, wishes, struck)

    def _delete(self, route: Route) -> Reply:
        if route.resource == "clients":
            self._books.remove_client(self._client(route))
        else:
            self._books.remove_account(self._account(route))
        return Reply(200, listing.envelope(b'"success"'))

    def _client(self, route: Route) -> Record:
        client: Record = self._present(self._books.clients.get(route.key))
        return client

    def _account(self, route: Route) -> Account:
        account: Account = self._present(self._books.accounts.get(route.key))
        return account


def refuse(status: int, error: str, message: str) -> Reply:
    """An error in the envelope."""
    return Reply(status, listing.refusal(status, error, message))


def _error(status: int) -> Reply:
    return refuse(status, _ERRORS.get(status, "Internal Error"), "simulated fault")


def _lie(fault: f.SuccessFalse) -> Reply:
    return Reply(200, listing.refusal(fault.code, fault.error, fault.message))


def _entity(row: bytes, struck: f.Struck, *, status: int = 200) -> Reply:
    return Reply(status, listing.envelope(listing.mangle([row], struck)[0], status))


def _basic(authorization: str) -> tuple[str, str]:
    """Name and password of a Basic header, blank when it is none."""
    kind, _, rest = authorization.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password
