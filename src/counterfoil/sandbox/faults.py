"""Faults: what a real platform, its network or its operators do to a client on a bad day.

A fault is an object with a `kind` and its parameters; it is picked per request by `method` and `path` (a regular expression
searched in the path) and can be limited by `times` (how often it strikes, null for ever) and `every` (each k-th request that
matches). Without a `path` the login is spared by all but `unmark`. They come from a YAML file, `PUT /_sandbox/faults`, or
`FaultDesk.set`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec

LOGIN, LIST, SINGLE, WRITE, MISS = "login", "list", "single", "write", "miss"
"""What a request is after: a fault strikes only those in its `scope`. `miss`: no such path."""
STREAM, FRAME = "stream", "frame"
"""The opening of a stream, and each frame that is to be sent through it."""

_ANY: Final = frozenset({LOGIN, LIST, SINGLE, WRITE, STREAM, MISS})
_READ: Final = frozenset({LIST, SINGLE, WRITE})

Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Status = Annotated[int, msgspec.Meta(ge=200, le=599)]
Amount = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,8})?\Z")]
"""Decimal text, because a fault's JSON must not make a binary float of money."""


class FaultError(ValueError):
    """A fault that nobody can obey: unknown kind or key, a wrong type, a broken expression."""


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every fault has."""

    scope: ClassVar[frozenset[str]] = _ANY
    spares_login: ClassVar[bool] = True
    path: str | None = None
    method: str | None = None
    times: Count | None = None
    every: Count = 1


class Unmark(Fault, tag="unmark"):
    """The answer does not say that this is a sandbox: no header X-Sandbox, no `sandbox` in the login's."""

    spares_login: ClassVar[bool] = False


class ListFault(Fault):
    """Strikes listings only."""

    scope: ClassVar[frozenset[str]] = frozenset({LIST})


class RowFault(Fault):
    """Changes the rows of any answer that carries some, the answers of writes included."""

    scope: ClassVar[frozenset[str]] = _READ


class WriteFault(Fault):
    """Changes what a write does."""

    scope: ClassVar[frozenset[str]] = frozenset({WRITE})


class Delay(Fault, tag="delay"):
    """Answers after some seconds."""

    seconds: Seconds


class Deaf(Fault, tag="deaf"):
    """Accepts the request and never answers."""


class DropBefore(Fault, tag="drop_before"):
    """Closes the connection before anything has happened."""


class DropAfter(Fault, tag="drop_after"):
    """Does what was asked, then closes the connection instead of answering."""


class ErrorBefore(Fault, tag="error_before"):
    """An error before anything has happened."""

    status: Status = 500


class ErrorAfter(Fault, tag="error_after"):
    """Does what was asked and answers an error."""

    status: Status = 500


class RateLimited(Fault, tag="rate_limited"):
    """429, with Retry-After in seconds; null leaves the header out."""

    retry_after: Natural | None = 1


class ExpireTokens(Fault, tag="expire_tokens"):
    """All tokens become invalid at once, just before this request is looked at."""


class Forbid(Fault, tag="forbid"):
    """403."""


class SuccessFalse(Fault, tag="success_false"):
    """HTTP 200 with success false; `after` says that the effect has happened."""

    code: int = 500
    error: str = "Internal Error"
    message: str = "simulated"
    after: bool = False


class WrongShape(Fault, tag="wrong_shape"):
    """`data` is this JSON text instead of what belongs there."""

    value: str = '{"unexpected":1}'


class Truncated(Fault, tag="truncated"):
    """The body ends early. With `announce` its full length is promised first and the connection closes midway."""

    keep: Natural | None = None
    announce: bool = False


class Html(Fault, tag="html"):
    """A proxy's page instead of JSON."""

    status: Status = 200


class Huge(Fault, tag="huge"):
    """A body of that many bytes, sent piece by piece; null: without end."""

    size: Count | None = 1 << 30


class SlowBody(Fault, tag="slow_body"):
    """The body trickles."""

    bytes_per_second: Count = 1_000


class ShortPage(ListFault, tag="short_page"):
    """At most `rows` rows of the page that was asked for; the rest of it is left out although it exists."""

    rows: Natural = 1


class OverlapPage(ListFault, tag="overlap_page"):
    """Every page begins `rows` rows before the end of the one before."""

    rows: Count = 1


class Shift(ListFault, tag="shift"):
    """After the page was served a row really leaves (closes, is deleted), or enters late, at the front of the listing."""

    action: str = "delete"


class LateRows(ListFault, tag="late_rows"):
    """Just below the newest id, `rows` rows stay hidden until `after` more requests of this listing were answered."""

    rows: Count = 1
    after: Natural = 1


class DuplicateRows(ListFault, tag="duplicate_rows"):
    """The first `rows` rows of the page come twice."""

    rows: Count = 1


class SamePage(ListFault, tag="same_page"):
    """Ignores `page`: always the first."""


class EndlessPages(ListFault, tag="endless_pages"):
    """Pages never end: beyond the last row others are invented, with growing ids."""


class Cap(ListFault, tag="cap"):
    """Rows beyond this offset are never given."""

    rows: Natural


class IgnoreLimit(ListFault, tag="ignore_limit"):
    """The server has its own, smaller page size."""

    limit: Count


class IgnoreSort(ListFault, tag="ignore_sort"):
    """Whatever was asked, rows come by id, newest first."""


class NullEmpty(ListFault, tag="null_empty"):
    """An empty listing is null instead of the text success (reference, section 3)."""


class BareList(ListFault, tag="bare_list"):
    """A listing is a bare array (reference, section 3)."""


class NestedGroups(ListFault, tag="nested_groups"):
    """Groups come only inside their parent's `groups`."""


class Vanish(ListFault, tag="vanish"):
    """This share of the rows is left out, always the same ones."""

    fraction: Share


class HideClosed(Fault, tag="hide_closed"):
    """A position or order that is over cannot be read singly: 404."""

    scope: ClassVar[frozenset[str]] = frozenset({SINGLE})


class ShuffleFields(RowFault, tag="shuffle_fields"):
    """The fields of every row come in another order."""


class MalformedRecord(RowFault, tag="malformed_record"):
    """In row number `row` of the answer `field` holds this raw JSON text; null removes the field."""

    field: str = "id"
    value: str | None = None
    row: Natural = 0


class ExtraField(RowFault, tag="extra_field"):
    """Every row has one more field; `value` is raw JSON text."""

    name: str = "surprise"
    value: str = '{"new":true}'


class PasswordLeak(RowFault, tag="password_leak"):
    """Every row carries passwords."""


class Unique(WriteFault, tag="unique"):
    """A client's external_id and an account's username may exist once: 409 (UNKNOWN in the reference, section 5.1)."""


class PutReplaces(WriteFault, tag="put_replaces"):
    """A PUT blanks what it does not mention (UNKNOWN in the reference, section 4)."""


class CommentCut(WriteFault, tag="comment_cut"):
    """The platform keeps only so many characters of a money comment; 0: none, so that the reference is lost."""

    length: Natural = 31


class WrongAmount(WriteFault, tag="wrong_amount"):
    """Books `by` more than was asked, and answers truthfully with what was booked."""

    by: Amount = "0.01"


class BooksTwice(WriteFault, tag="books_twice"):
    """Books the same money twice, covered or not, and answers with the first transaction."""


class AnswerAmount(WriteFault, tag="answer_amount"):
    """Books rightly; in the answer profit and amount are larger by `by`."""

    by: Amount = "0.01"


class AnswerAccount(WriteFault, tag="answer_account"):
    """Books rightly; the answer names the account with the next id."""


class AnswerWithoutId(RowFault, tag="answer_without_id"):
    """The row that answers a write has no id."""

    scope: ClassVar[frozenset[str]] = frozenset({WRITE})


class AnswerText(WriteFault, tag="answer_text"):
    """The text success answers a write, instead of the row."""


AnyFault = (
    *(Delay, Deaf, DropBefore, DropAfter, ErrorBefore, ErrorAfter, RateLimited, ExpireTokens, Forbid, SuccessFalse),
    *(WrongShape, Truncated, Html, Huge, SlowBody, ShortPage, OverlapPage, Shift, LateRows, DuplicateRows, SamePage),
    *(EndlessPages, Cap, IgnoreLimit, IgnoreSort, NullEmpty, BareList, NestedGroups, Vanish, HideClosed),
    *(ShuffleFields, MalformedRecord, ExtraField, PasswordLeak, Unmark, Unique, PutReplaces, CommentCut),
    *(WrongAmount, BooksTwice, AnswerAmount, AnswerAccount, AnswerWithoutId, AnswerText),
)

KINDS: Final = {str(kind.__struct_config__.tag): kind for kind in AnyFault}
"""Every fault by its name."""


class Armed:
    """A fault in force, with what it has done so far. `memory` is for faults that last over several requests."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.fired = 0
        self.memory: dict[str, Any] = {}
        try:
            self._pattern = re.compile(fault.path) if fault.path is not None else None
        except re.error as error:
            raise FaultError(f"path {fault.path!r} is not a regular expression: {error}") from error

    def strikes(self, method: str, path: str, target: str) -> bool:
        """Whether it strikes this request; counts it either way."""
        if not self._matches(method, path, target):
            return False
        if self.fault.times is not None and self.fired >= self.fault.times:
            return False
        self.seen += 1
        if self.seen % self.fault.every:
            return False
        self.fired += 1
        return True

    def _matches(self, method: str, path: str, target: str) -> bool:
        if target not in self.fault.scope or (self.fault.method or method).upper() != method:
            return False
        return bool(self._pattern.search(path)) if self._pattern else target != LOGIN or not self.fault.spares_login


F = TypeVar("F", bound=Fault)


class Struck:
    """The faults that strike one request."""

    def __init__(self, armed: Iterable[Armed] = ()) -> None:
        self.armed = tuple(armed)

    def __iter__(self) -> Iterator[Fault]:
        return (armed.fault for armed in self.armed)

    def get(self, kind: type[F]) -> F | None:
        """The first fault of a kind."""
        return next((fault for fault in self if isinstance(fault, kind)), None)

    def has(self, kind: type[Fault]) -> bool:
        """Whether a fault of this kind strikes."""
        return self.get(kind) is not None
