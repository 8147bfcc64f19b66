"""Faults that only a cTrader server knows, and the list of all that the simulated one obeys.

The shared kinds mean the same as in `faults`, with errors in cTrader's form. Here `short_page` leaves rows out and says that
there are no more, `endless_pages` says for ever that there are more traders, `same_page` ignores `to`, `late_rows` and
`vanish` work on traders and positions, and a row of CSV is a row as well: `extra_field` adds a column, `malformed_record`
changes one cell (or leaves it out, so that the line is too short).
"""

from typing import Final

from counterfoil.sandbox import faults as f


class ColumnOrder(f.ListFault, tag="column_order"):
    """Closed positions come in the second order of columns that was seen (reference, section 4.13)."""


class JsonPositions(f.ListFault, tag="json_positions"):
    """Positions come as a JSON array of objects with the same keys (reference, section 4.13)."""


class PlainError(f.Fault, tag="plain_error"):
    """Errors, those of other faults too, are plain text of the form `CODE: text` (reference, section 7)."""


class BusinessError(f.Fault, tag="business_error"):
    """An error object with this code; `after` says that the effect has happened."""

    code: str = "UNKNOWN_ERROR"
    status: f.Status = 400
    after: bool = False


class Chunk(f.ListFault, tag="chunk"):
    """At most `size` traders in one answer, `hasMore` for the rest."""

    size: f.Count = 1


class FilterOnOpen(f.ListFault, tag="filter_on_open"):
    """The window of closed positions means the time when a position was opened (reference, section 4.13)."""


class LateDeals(f.ListFault, tag="late_deals"):
    """The newest `rows` closing deals are missing from closed positions although the balances have moved.

    They are those of the first moment at which it strikes, and they show up when `after` more answers that should have
    held one of them were given.
    """

    rows: f.Count = 1
    after: f.Natural = 1


class CloseMeanwhile(f.WriteFault, tag="close_meanwhile"):
    """So many open positions of the account close right after the effect, so that its balance moves once more.

    With `before` they close before the request is looked at, and even when another fault keeps it from being. With
    `pnl` each of them brings exactly that, in the deposit currency. Fewer close when fewer are open; an account that has
    none open opens one first.
    """

    count: f.Count = 1
    before: bool = False
    pnl: f.Amount | None = None


class WithoutHistoryId(f.WriteFault, tag="without_history_id"):
    """A change of balance or bonus is booked and answered without its id (UNKNOWN in the reference, section 4.7)."""


class DescriptionCut(f.WriteFault, tag="description_cut"):
    """Only so many characters of a trader's description are kept; 0: none."""

    length: f.Natural = 20


class RefuseWhileOpen(f.WriteFault, tag="refuse_while_open"):
    """A withdrawal is NOT_ENOUGH_MONEY whenever positions are open (reference, section 11)."""


_SHARED: Final[tuple[type[f.Fault], ...]] = (
    *(f.Delay, f.Deaf, f.DropBefore, f.DropAfter, f.ErrorBefore, f.ErrorAfter, f.RateLimited, f.ExpireTokens, f.Forbid),
    *(f.WrongShape, f.Truncated, f.Html, f.Huge, f.SlowBody, f.Unmark, f.ShortPage, f.LateRows, f.DuplicateRows),
    *(f.SamePage, f.EndlessPages, f.Vanish, f.ShuffleFields, f.MalformedRecord, f.ExtraField, f.PasswordLeak),
    *(f.WrongAmount, f.BooksTwice),
)
_OWN: Final[tuple[type[f.Fault], ...]] = (
    *(ColumnOrder, JsonPositions, PlainError, BusinessError, Chunk, FilterOnOpen, LateDeals, CloseMeanwhile),
    *(WithoutHistoryId, DescriptionCut, RefuseWhileOpen),
)

KINDS: Final = {str(kind.__struct_config__.tag): kind for kind in (*_SHARED, *_OWN)}
"""Every fault that the simulated cTrader server obeys, by its name."""
