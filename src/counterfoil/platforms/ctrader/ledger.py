"""What an account held before a balance operation, and what it holds after: cTrader shows no history of its operations.

A reading is balance, open positions, closing deals, balance: only when both balances are equal do the deals between belong to
them. Deals are asked for by the time since the note, and by the times at which those positions were opened that have left or
shrunk since, so that it does not matter which of the two the platform's filter is about.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from counterfoil.domain.attempt import Facts
from counterfoil.domain.errors import TransientError
from counterfoil.domain.priority import Priority
from counterfoil.platforms.ctrader import wire
from counterfoil.platforms.ctrader.client import CTrader
from counterfoil.platforms.ctrader.tokens import Texts, moment, required, scaled, stamp

# Deals may be listed so much later than they were made, and clocks may differ by so much.
NEAR: Final = timedelta(minutes=10)
AHEAD: Final = timedelta(hours=1)
_AROUND: Final = timedelta(seconds=1)
# Readings until the balance must have stood still for the length of one.
_MOST_READINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Position:
    """An open position: base units, and when it was opened."""

    volume: Decimal
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Deal:
    """A closing deal: base units, what it did to the balance, and when."""

    position_id: int
    volume: Decimal
    profit: Decimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An account at one moment of the platform's clock; money in its own currency, `credit` is the non-withdrawable bonus.

    `changed`: when the platform says that it last changed the account, as sent.
    """

    at: datetime
    balance: Decimal
    credit: Decimal
    digits: int
    changed: str | None
    positions: Mapping[int, Position]
    deals: Mapping[int, Deal]

    def marks(self) -> Facts:
        """For the books, to be read again by `noted`."""
        return {
            "at": self.at.isoformat(),
            "balance": str(self.balance),
            "credit": str(self.credit),
            "digits": self.digits,
            "changed": self.changed,
            "positions": {str(key): [str(p.volume), p.opened_at.isoformat()] for key, p in self.positions.items()},
            "deals": {str(key): str(deal.profit) for key, deal in self.deals.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was noted before an attempt; `deals`: what those made shortly before did."""

    at: datetime
    balance: Decimal
    credit: Decimal
    changed: str | None
    positions: Mapping[int, Position]
    deals: Mapping[int, Decimal]


def noted(marks: Facts) -> Note | None:
    """What `Reading.marks` wrote down; None when nothing was."""
    given: dict[str, Any] = dict(marks)
    if "balance" not in given:
        return None
    return Note(
        at=datetime.fromisoformat(given["at"]),
        balance=Decimal(given["balance"]),
        credit=Decimal(given["credit"]),
        changed=given.get("changed"),
        positions={
            int(key): Position(Decimal(volume), datetime.fromisoformat(opened))
            for key, (volume, opened) in given["positions"].items()
        },
        deals={int(key): Decimal(profit) for key, profit in given["deals"].items()},
    )


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reads accounts of one platform."""

    client: CTrader

    async def read(self, login: int, note: Note | None = None) -> Reading | None:
        """The account now, with its deals since shortly before the note, or before now; None when there is no such account.

        Raises:
            TransientError: its balance moves faster than it can be read.
        """
        trader = await self.client.trader(login, Priority.PROBE)
        for _ in range(_MOST_READINGS):
            if trader is None:
                return None
            at, before = self.client.now(), _money(trader)
            positions = await self._positions(login)
            since = (note.at if note else at) - NEAR
            deals = {
                key: deal
                async for key, deal in self._deals(login, since, at + AHEAD, _departed(note, positions))
                if deal.at >= since
            }
            trader = await self.client.trader(login, Priority.PROBE)
            if trader is not None and _money(trader) == before:
                balance, credit, digits = before
                return Reading(
                    at=at,
                    balance=balance,
                    credit=credit,
                    digits=digits,
                    changed=trader.get("lastUpdateTimestamp"),
                    positions=positions,
                    deals=deals,
                )
        raise TransientError(f"the balance of account {login} moves faster than it can be read")

    async def _positions(self, login: int) -> dict[int, Position]:
        records = await self.client.open(login, Priority.PROBE)
        try:
            return {required(record, "positionId"): _position(record) for record in records if _is_of(login, record)}
        except ValueError as error:
            raise TransientError(f"an open position of account {login} cannot be read: {error}") from error

    async def _deals(
        self, login: int, since: datetime, until: datetime, opened: set[datetime]
    ) -> AsyncIterator[tuple[int, Deal]]:
        spans = [(at - _AROUND, at + _AROUND) for at in sorted(opened) if at < since]
        while since < until:
            end = min(since + wire.LONGEST_SPAN, until)
            spans.append((since, end))
            since = end
        for begin, end in spans:
            for record in await self.client.closed(begin, end, Priority.PROBE, login):
                if _is_of(login, record):
                    yield _deal(login, record)


def missing_deals(note: Note, reading: Reading) -> list[int]:
    """Positions that left or shrank by more than their listed deals tell: their deals are still to be listed."""
    short = []
    for key, position in note.positions.items():
        left = reading.positions[key].volume if key in reading.positions else Decimal(0)
        told = sum(
            (
                deal.volume
                for number, deal in reading.deals.items()
                if deal.position_id == key and number not in note.deals
            ),
            Decimal(0),
        )
        if position.volume - left != told:
            short.append(key)
    return short


def untouched(note: Note, reading: Reading) -> bool:
    """Whether nothing speaks for a change of the account since the note but its own trading.

    A booking of ours that somebody booked back leaves the balance as it was; an account that the platform changed meanwhile,
    and on which nothing was traded, may hide such a pair.
    """
    traded = reading.positions != note.positions or any(key not in note.deals for key in reading.deals)
    return traded or note.changed == reading.changed


def _departed(note: Note | None, positions: Mapping[int, Position]) -> set[datetime]:
    """When those positions were opened that have left or shrunk since the note."""
    if note is None:
        return set()
    return {
        position.opened_at
        for key, position in note.positions.items()
        if key not in positions or positions[key].volume < position.volume
    }


def _money(trader: Texts) -> tuple[Decimal, Decimal, int]:
    try:
        digits = required(trader, "moneyDigits")
        balance = scaled(trader, "balance", digits)
        credit = scaled(trader, "nonWithdrawableBonus", digits)
    except ValueError as error:
        raise TransientError(f"the account's money cannot be read: {error}") from error
    if balance is None:
        raise TransientError("the account does not tell its balance")
    return Decimal(balance), Decimal(credit or 0), digits


def _is_of(login: int, record: Texts) -> bool:
    return record.get("login") in (None, str(login))


def _position(record: Texts) -> Position:
    opened_at = moment(stamp(record, "openTimestamp"))
    if opened_at is None:
        raise ValueError("missing - at `openTimestamp`")
    return Position(_decimal(record, "volume"), opened_at)


def _deal(login: int, record: Texts) -> tuple[int, Deal]:
    try:
        at = moment(stamp(record, "closeTimestamp"))
        if at is None:
            raise ValueError("missing - at `closeTimestamp`")  # noqa: TRY301 - said as the others are
        position_id = required(record, "positionId")
        return required(record, "dealId"), Deal(position_id, _decimal(record, "volume"), _decimal(record, "pnl"), at)
    except ValueError as error:
        raise TransientError(f"a closing deal of account {login} cannot be read: {error}") from error


def _decimal(record: Texts, name: str) -> Decimal:
    text = record.get(name)
    try:
        found = Decimal(text or "")
    except ArithmeticError as error:
        raise ValueError(f"not a number - at `{name}`") from error
    if not found.is_finite() or abs(found.adjusted()) > 40:
        raise ValueError(f"not a number - at `{name}`")
    return found
