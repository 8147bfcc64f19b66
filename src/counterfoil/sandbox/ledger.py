"""The tables and the bookings of money: every way in which people, accounts and balances can change, to the smallest unit.

Whatever happens goes through one of these methods (trading through those of `exchange`), so that a balance is always the
sum of its deals. Nothing here throws dice or looks at requests.
"""

import bisect
from collections.abc import Callable
from typing import Any

from counterfoil.sandbox import catalogue
from counterfoil.sandbox.rows import (
    BALANCE,
    BUY,
    CREDIT,
    IN,
    OUT,
    REASON_DEALER,
    REASON_TRANSFER,
    Account,
    Deal,
    Group,
    Instrument,
    Order,
    Position,
    Record,
    Transaction,
)
from counterfoil.sandbox.tables import Ids, Table
from counterfoil.sandbox.text import GRAINS, stamp

Clock = Callable[[], int]
"""Nanoseconds since 1970, UTC."""


Telling = Callable[[str, Order | Position | Deal], None]
"""Told of a row as it changes: the name of the event, and the row."""


def _to_nobody(_event: str, _row: Order | Position | Deal) -> None:
    """Nobody listens."""


class RefusedError(Exception):
    """The platform refuses a wish, and nothing was booked; the text is the reason it gives."""


class Ledger:
    """All tables of the platform and the bookings on them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._beat = 0
        self._latest = 0
        self.instruments: dict[int, Instrument] = {item.id: item for item in catalogue.instruments()}
        self.trading_groups: dict[int, Group] = {group.id: group for group in catalogue.trading_groups()}
        self.clients: Table[Record] = Table()
        self.accounts: Table[Account] = Table()
        self.groups: Table[Record] = Table()
        self.symbols: Table[Record] = Table()
        self.group_symbols: Table[Record] = Table()
        self.commissions: Table[Record] = Table()
        self.orders: Table[Order] = Table()
        self.orders_history: Table[Order] = Table()
        self.positions: Table[Position] = Table()
        self.positions_history: Table[Position] = Table()
        self.deals: Table[Deal] = Table()
        self.transactions: Table[Transaction] = Table()
        self.transactions_of: dict[int, list[int]] = {}
        self.told: Telling = _to_nobody
        self.client_ids, self.account_ids = Ids(3), Ids()
        self.order_ids, self.position_ids, self.deal_ids = Ids(), Ids(), Ids()

    def now(self) -> int:
        """The clock, cut to a precision that varies from call to call and never running backwards."""
        self._beat += 1
        at = self.clock()
        self._latest = max(self._latest, at - at % GRAINS[self._beat % len(GRAINS)])
        return self._latest

    # People and accounts

    def add_client(self, wishes: dict[str, Any], *, key: int | None = None) -> Record:
        """A new client: the documented fields, blank where `wishes` is silent."""
        at = self.now()
        key = key or self.client_ids.draw()
        fields = {"id": key, "user_id": key + 500, **catalogue.CLIENT_FIELDS}
        fields.update((name, value) for name, value in wishes.items() if name in catalogue.CLIENT_FIELDS)
        fields.update(accounts=None, created_at=stamp(at), created_by=2, updated_at=stamp(at), updated_by=2)
        client = Record(key, at, at, fields)
        self.clients.add(client)
        return client

    def add_account(self, client_id: int, group: Group, username: str, profile: dict[str, str]) -> Account:
        """A new account with nothing in it."""
        at = self.now()
        profile = {name: profile.get(name, "") for name in catalogue.PROFILE_FIELDS}
        account = Account(self.account_ids.draw(), client_id, group, username, profile, at, at)
        self.accounts.add(account)
        self.transactions_of[account.id] = []
        return account

    def remove_account(self, account: Account) -> None:
        """Close the books of an account that holds nothing open; its deals stay in the ledger."""
        if any(row.account is account for row in self.positions) or any(row.account is account for row in self.orders):
            raise RefusedError("account has open positions or orders")
        self.accounts.remove(account.id)

    def remove_client(self, client: Record) -> None:
        """Forget a client that owns no account."""
        if any(account.client_id == client.id for account in self.accounts):
            raise RefusedError("client has accounts")
        self.clients.remove(client.id)

    # Money

    def move_money(
        self, account: Account, amount: int, side: int, comment: str, *, key: int | None = None
    ) -> Transaction:
        """Book a deposit or withdrawal (side 2) or a credit (side 3); `amount` is signed, money in is positive.

        The transaction and its deal share one id (ASSUMED, reference, section 5.9).
        """
        if amount < 0 and key is None:
            self._require_cover(account, -amount, side)
        at, key, digits = self.now(), key or self.deal_ids.draw(), account.group.digits
        deal = Deal(
            id=key,
            account_id=account.id,
            currency_digits=digits,
            side=side,
            direction=OUT if amount < 0 else IN,
            reason=REASON_TRANSFER,
            created_at=at,
            updated_at=at,
            profit=amount,
            channel=3,
            comment=comment,
        )
        transaction = Transaction(
            id=key,
            account_id=account.id,
            currency=account.group.currency,
            currency_digits=digits,
            side=side,
            amount=amount,
            created_at=at,
            updated_at=at,
            comment=comment,
        )
        self.transactions.add(transaction)
        self.transactions_of[account.id].append(key)
        self.transactions_of[account.id].sort()
        self._book(account, deal)
        return transaction

    def _require_cover(self, account: Account, amount: int, side: int) -> None:
        if side == CREDIT and amount > account.credit:
            raise RefusedError("insufficient credit")
        if side == BALANCE and amount > account.free - account.credit:
            raise RefusedError("insufficient free margin")

    def _book(self, account: Account | None, deal: Deal) -> None:
        self.deals.add(deal)
        if account is not None:
            self._credit(account, deal, deal.net)
        self.told("deals_create", deal)

    def _credit(self, account: Account, deal: Deal, amount: int) -> None:
        if deal.side == CREDIT:
            account.credit += amount
        else:
            account.balance += amount
        account.json = None

    def adjust(self, key: int, account: Account, position: Position | None, amount: int) -> Deal:
        """A correction by the dealer that enters the ledger late, under an old id and the time of its neighbour."""
        place = bisect.bisect_left(self.deals.ids, key)
        at = self.deals.rows[self.deals.ids[max(0, place - 1)]].created_at if self.deals.ids else self.now()
        deal = Deal(
            id=key,
            account_id=account.id,
            currency_digits=account.group.digits,
            side=position.side if position else BUY,
            direction=OUT,
            reason=REASON_DEALER,
            created_at=at,
            updated_at=at,
            instrument=position.instrument if position else None,
            position_id=position.id if position else 0,
            swap=amount,
            comment="late correction",
        )
        self._book(account, deal)
        return deal

    def strike(self, deal: Deal) -> None:
        """Delete a deal and undo what it did to its account, its transaction included."""
        self.deals.remove(deal.id)
        if deal.id in self.transactions.rows:
            self.transactions.remove(deal.id)
            self.transactions_of[deal.account_id].remove(deal.id)
        account = self.accounts.get(deal.account_id)
        if account is not None:
            self._credit(account, deal, -deal.net)
