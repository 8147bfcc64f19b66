"""The simulated cTrader WebServices API (reference, sections 1 to 7): who may ask, which path means what, and the answers.

ASSUMED, because nothing public says it; everything else follows the reference:

* no XML: without `application/json` in Accept the answer is 406, without it in the Content-Type of a body 415, plain text both
* an unknown token is 401, an unknown path 404 INVALID_REQUEST, a business error 400, a white label that the manager is denied
  403 NOT_ENOUGH_RIGHTS; the token is told by its manager's hash and stays the same until `expire_tokens`
* every request that is no GET counts towards `writes_per_hour`, logins too, refused ones not; beyond it 429
* timestamps in queries have exactly three digits and no Z; unknown parameters and unknown names in `fields` are ignored; a
  `from` after its `to` is INVALID_REQUEST; traders come by registration, then by login, the latest first
* the window of closed positions means the time of closing; their content type is text/csv, the header line comes always,
  the last line ends with a line feed, numbers have all their digits and never an exponent
* `pnl` is in the deposit currency and net of commission and swap, which are US dollars; a commission is shown as a positive
  charge, a swap with its sign; equity is balance plus floating result (bonus and credit left out), free margin is equity less
  used margin, `cashEquity` is equity
* `lastUpdateTimestamp` moves with master data and bookings of money, not with trading
* an opening balance is a deposit; what is null in a body counts as not sent; unknown keys are ignored
* PUT keeps account type, password, white label and balance, resets what else it does not mention, and must name group and
  leverage; PATCH merges contact details and ignores brokerName, hashedPassword and balance
* hashes are 32 hexadecimal digits in lower case
* `preciseAmount` must be a positive number with no more decimals than moneyDigits; WITHDRAW above `cashEquity`, or more credit
  or bonus than there is, is NOT_ENOUGH_MONEY; all four types of a change of balance are answered with a balanceHistoryId
* the same externalId books again
* checkpassword lies beside changepassword and answers 204; creating answers 200; a link without details answers 200 and
  nothing; a second link is refused even to the same user
* link: WRONG_PASSWORD for a wrong hash, INVALID_REQUEST for an unknown user, CH_ENVIRONMENT_NOT_FOUND,
  CH_TRADER_ACCOUNT_NOT_FOUND, CH_PLANT_INVALID for an unknown white label (everywhere)
* e-mail addresses are compared without regard to letter case
* an account with open positions cannot be deleted; an account that is deleted or vanishes takes its positions and closing
  deals out of every listing; Copy sub-accounts are listed like other accounts
"""

import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from counterfoil.sandbox import ctrader_answers as answers
from counterfoil.sandbox import ctrader_faults as own
from counterfoil.sandbox import ctrader_reading as reading
from counterfoil.sandbox import ctrader_users as users
from counterfoil.sandbox import ctrader_writes as writing
from counterfoil.sandbox import faults as f
from counterfoil.sandbox.calls import Call, Flood, Reply, Route
from counterfoil.sandbox.ctrader_answers import INVALID, PLAIN, RIGHTS, TOO_OFTEN, WebservError
from counterfoil.sandbox.ctrader_books import CtraderBooks
from counterfoil.sandbox.ctrader_ledger import md5
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.text import ENCODER, SECOND
from counterfoil.sandbox.writes import read_body

_BASE: Final = "/v2/webserv/"
_USERS: Final = "/cid/ctid/"
_TRADERS: Final = f"{_BASE}traders"
_READ: Final = {
    f"{_BASE}{name}": name
    for name in ("traders", "tradergroups", "openPositions", "closedPositions", "symbols", "depositAssets")
}
_OF_TRADER: Final = frozenset({"changebalance", "changebonus", "changepassword", "checkpassword"})
_OF_USER: Final = frozenset({"create", "link", "changeCtidTraderAccount"})
_HOUR: Final = 3_600 * SECOND
_JSON: Final = "application/json"
_FLOOD: Final = Flood(
    b'{"hasMore":false,"trader":[', b'{"login":1,"padding":"' + b"x" * 65_000 + b'"},', b'{"login":1}]}'
)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say about the API; see `SandboxOptions`."""

    manager_login: int = 2309
    password: str = "sandbox"  # noqa: S105 - the sandbox's well-known password
    environment: str = "live"
    chunk: int = 100_000
    writes_per_hour: int | None = None
    filter_on: str = "close"
    linked_code: str = "CH_TRADER_ACCOUNT_ALREADY_LINKED"


def resolve(method: str, path: str) -> Route:
    """The route of a request; a slash at the end makes no difference. Target `miss` when there is none."""
    path = path.rstrip("/")
    if path == f"{_BASE}managers/token" and method == "POST":
        return Route(f.LOGIN)
    if method == "GET" and path in _READ:
        return Route(f.LIST, _READ[path])
    if method == "POST" and path == _TRADERS:
        return Route(f.WRITE, "create")
    if method == "POST" and path.startswith(_USERS) and path.removeprefix(_USERS) in _OF_USER:
        return Route(f.WRITE, f"ctid {path.removeprefix(_USERS)}")
    return _of_one_trader(method, path)


def _of_one_trader(method: str, path: str) -> Route:
    login, _, rest = path.removeprefix(f"{_TRADERS}/").partition("/")
    if not path.startswith(f"{_TRADERS}/") or not login.isascii() or not login.isdigit() or len(login) > 18:
        return Route(f.MISS)
    key = int(login)
    if method == "GET" and rest in ("", "subaccounts"):
        return Route(f.SINGLE, rest or "trader", key)
    if method == "POST" and rest in _OF_TRADER:
        return Route(f.WRITE, rest, key)
    if method in ("PUT", "PATCH", "DELETE") and not rest:
        return Route(f.WRITE, method.lower(), key)
    return Route(f.MISS)


class CtraderPlatform:
    """Answers calls from the books. `clock` gives monotonic nanoseconds."""

    flood = _FLOOD
    feed = None
    resolve = staticmethod(resolve)

    def __init__(self, books: CtraderBooks, terms: Terms, clock: Callable[[], int] = time.monotonic_ns) -> None:
        if terms.filter_on not in ("close", "open"):
            raise ValueError(f"filter_on is close or open, not {terms.filter_on!r}")
        self._books = books
        self._terms = terms
        self._clock = clock
        self._hash = md5(terms.password)
        self._token: str | None = None
        self._writes: deque[int] = deque()

    def expire_tokens(self) -> None:
        """The manager's token becomes worthless; the next login gives another."""
        self._token = None

    # Faults

    def foretell(self, route: Route, struck: f.Struck) -> None:
        """Positions that close before the request is looked at."""
        self._close(route, struck, before=True)

    def settle(self, route: Route, struck: f.Struck) -> None:
        """Positions that close right after the effect."""
        self._close(route, struck, before=False)

    def _close(self, route: Route, struck: f.Struck, *, before: bool) -> None:
        fault = struck.get(own.CloseMeanwhile)
        trader = self._books.traders.get(route.key)
        if fault is None or trader is None or fault.before is not before:
            return
        pnl = None if fault.pnl is None else writing.units(fault.pnl, trader.digits)
        self._books.close_some(trader.login, fault.count, pnl)

    def refusal(self, struck: f.Struck) -> Reply | None:
        """The error that a fault answers before anything has happened."""
        refused = answers.refusal(struck)
        return None if refused is None else answers.in_form(refused, struck)

    def distort(self, reply: Reply, struck: f.Struck) -> Reply:
        """An answer after its effect, as the faults leave it."""
        return answers.in_form(answers.distorted(reply, struck), struck)

    # One call

    def answer(self, call: Call, route: Route, struck: f.Struck) -> Reply:
        """The answer to a call, its effect included."""
        if _JSON not in call.accept:
            return Reply(406, b"this server speaks JSON alone: send Accept: application/json\n", PLAIN)
        if call.body and _JSON not in call.content_type:
            return Reply(415, b"this server reads JSON alone: send Content-Type: application/json\n", PLAIN)
        try:
            return self._answer(call, route, struck)
        except WebservError as refused:
            return answers.in_form(answers.error(refused.code, refused.text, refused.status), struck)
        except RefusedError as refused:
            return answers.in_form(answers.error(INVALID, str(refused)), struck)

    def _answer(self, call: Call, route: Route, struck: f.Struck) -> Reply:
        if route.target == f.LOGIN:
            self._count_write()
            return self._log_in(read_body(call.body))
        if self._token is None or not secrets.compare_digest(
            call.query.get("token", "").encode(), self._token.encode()
        ):
            raise WebservError(RIGHTS, "the token is missing or unknown", 401)
        if route.target == f.MISS:
            raise WebservError(INVALID, f"nothing at {call.path}", 404)
        if route.target == f.LIST:
            return self._list(call, route, struck)
        if route.resource == "subaccounts":
            return reading.subaccounts(self._books, route.key, struck)
        if route.target == f.SINGLE:
            return reading.trader(self._books, route.key, struck)
        self._count_write()
        return self._write(call, route, struck)

    def _log_in(self, wishes: Mapping[str, object]) -> Reply:
        """A token for login and MD5 of the password (reference, section 1.1)."""
        login, sent = writing.whole(wishes, "login"), writing.text(wishes, "hashedPassword", required=True)
        if login != self._terms.manager_login or not secrets.compare_digest(sent.encode(), self._hash.encode()):
            raise WebservError(RIGHTS, "wrong login or password", 401)
        self._token = self._token or str(uuid.uuid4())
        return Reply(200, ENCODER.encode({"webservToken": self._token}))

    def _count_write(self) -> None:
        """Refuse when there were as many writes in the past hour as may be (reference, section 1.3)."""
        if self._terms.writes_per_hour is None:
            return
        now = self._clock()
        while self._writes and self._writes[0] <= now - _HOUR:
            self._writes.popleft()
        if len(self._writes) >= self._terms.writes_per_hour:
            raise WebservError(TOO_OFTEN, "too many requests in this hour", 429)
        self._writes.append(now)

    def _list(self, call: Call, route: Route, struck: f.Struck) -> Reply:
        books, query = self._books, call.query
        if route.resource == "traders":
            return reading.traders(books, query, struck, self._terms.chunk)
        if route.resource == "openPositions":
            return reading.open_positions(books, query, struck)
        if route.resource == "closedPositions":
            return reading.closed_positions(books, query, struck, self._terms.filter_on)
        if route.resource == "tradergroups":
            return reading.groups(books, struck)
        return reading.symbols(books, struck) if route.resource == "symbols" else reading.assets()

    def _write(self, call: Call, route: Route, struck: f.Struck) -> Reply:
        books, terms = self._books, self._terms
        wishes = {} if route.resource == "delete" else read_body(call.body)
        if route.resource == "create":
            return writing.create(books, wishes, struck)
        if route.resource == "ctid create":
            return users.create(books, wishes, struck)
        if route.resource == "ctid link":
            told = {"environment": terms.environment, "linked_code": terms.linked_code}
            return users.link(books, wishes, struck, **told)
        if route.resource == "ctid changeCtidTraderAccount":
            return users.change_brand(books, wishes, environment=terms.environment)
        return self._write_to(route, wishes, struck)

    def _write_to(self, route: Route, wishes: writing.Wishes, struck: f.Struck) -> Reply:
        books, trader = self._books, reading.present(self._books, route.key)
        if route.resource == "delete":
            return writing.delete(books, trader)
        if route.resource in ("put", "patch"):
            return writing.change(books, trader, wishes, replace=route.resource == "put", struck=struck)
        if route.resource == "changepassword":
            return writing.change_password(trader, wishes)
        if route.resource == "checkpassword":
            return writing.check_password(trader, wishes)
        return writing.move(books, trader, route.resource, wishes, struck)
