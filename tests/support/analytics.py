"""What schema analytics must answer, computed the slow way: one loop over rows of Python, in Decimal; and books to try it on."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Row = dict[str, Any]
Books = dict[str, list[Row]]
Bound = datetime | None

FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)
# Where periods begin and end, and what happens just there.
MOMENTS = [FIRST_DAY + timedelta(hours=6 * step) for step in range(40)]
TICK = timedelta(microseconds=1)
NAMES = ("EURUSD", "XAUUSD", "BTCUSD", "gone", None)
# Of the ids that are traded 0 is none, 4 has no row, and 3 has a successor of the same name.
SYMBOLS = ((1, "XAUUSD"), (2, "BTCUSD"), (3, "gone"), (30, "gone"), (40, "EURUSD"))
COSTS = ("commission", "swap", "storage", "fee")
ZERO = Decimal(0)


# --- books ------------------------------------------------------------------------------------------------------------


class Dice:
    """Random rows, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rolls = random.Random(seed)  # noqa: S311 - repeatable dice

    def maybe(self, value: object, share: float = 0.15) -> Any:
        """The value, or sometimes None."""
        return None if self.rolls.random() < share else value

    def money(self) -> Decimal:
        """An amount of either sign, often zero, with digits that a binary float has not."""
        return self.rolls.choice((ZERO, Decimal(self.rolls.randint(-(10**9), 10**9)).scaleb(-self.rolls.randint(0, 8))))

    def moment(self) -> datetime:
        """A time at, just before or just after one that a period may begin with."""
        return self.rolls.choice(MOMENTS) + self.rolls.choice((-TICK, timedelta(0), TICK, timedelta(hours=1)))

    def row(self, key: int, **fields: object) -> Row:
        """A row of some account, sometimes undated or deleted."""
        seen = {"first_seen_at": FIRST_DAY, "changed_at": FIRST_DAY, "version": key}
        gone = FIRST_DAY if self.rolls.random() < 0.1 else None
        account, at = self.rolls.randint(1, 4), self.maybe(self.moment())
        return {"id": key, "account_id": account, "created_at": at, "deleted_at": gone, **seen, **fields}

    def traded(self) -> Row:
        """What was traded; cTrader knows names, not always ids."""
        number = self.rolls.randrange(len(NAMES))
        return {"symbol_id": self.maybe(number), "symbol": self.maybe(NAMES[number], 0.1)}


def books(seed: int, platform: str) -> Books:
    """A platform's rows; `ct` is a cTrader, every other an OMTrader. Account 4 is deleted."""
    dice = Dice(seed)
    made: Books = {
        "accounts": [
            dice.row(key, balance=dice.money(), currency="EUR", deleted_at=FIRST_DAY if key == 4 else None)
            for key in (1, 2, 3, 4)
        ],
        "symbols": [dice.row(key, **_symbol(platform, key, name)) for key, name in SYMBOLS],
        "positions": [dice.row(key, **_position(dice, platform), **dice.traded()) for key in range(1, 150)],
    }
    for row in (*made["accounts"], *made["symbols"]):
        del row["account_id"]
    (_ctrader if platform == "ct" else _omtrader)(dice, made)
    return {table: [{"platform": platform, **row} for row in rows] for table, rows in made.items()}


def _symbol(platform: str, key: int, name: str) -> Row:
    named = {"symbol": name, "deleted_at": FIRST_DAY if key == 3 else None}
    if platform == "ct":
        return {**named, "category": f"category {key % 2}", "asset_class": f"class {key // 2}"}
    return {**named, "symbol_class": Jsonb({"id": key % 2, "desc": f"class {key % 2}"})}


def _position(dice: Dice, platform: str) -> Row:
    lots = None if platform == "ct" else dice.maybe(Decimal(dice.rolls.randint(1, 99)).scaleb(-2))
    units = dice.maybe(Decimal(dice.rolls.randint(1, 10**6)) if lots is None else lots * 100_000, 0.05)
    return {
        "side": dice.maybe(dice.rolls.randint(0, 1), 0.05),
        "status": dice.rolls.choice((0, 1, 2, None)),
        "volume_current": lots,
        "volume_base": units,
    }


def _omtrader(dice: Dice, made: Books) -> None:
    made["deals"] = [
        dice.row(
            key,
            side=dice.rolls.choice((0, 1, 0, 1, 2, 3, None)),
            direction=dice.maybe(dice.rolls.randint(0, 1)),
            **{name: dice.maybe(dice.money(), 0.02 if key % 2 else 0.5) for name in ("profit", *COSTS)},
        )
        for key in range(1, 250)
    ]
    told = {row["id"]: row for row in made["deals"] if row["side"] in (2, 3) and dice.maybe(row)}
    # Most repeat their deal; some have its id and nothing else of it.
    made["transactions"] = [
        {**dice.row(key, **_movement(dice)), **({name: row[name] for name in ("account_id", "created_at")[: key % 3]})}
        for key, row in told.items()
    ]
    made["transactions"] += [dice.row(key, **_movement(dice)) for key in range(1000, 1020)]
    made["orders"] = [dice.row(key, **dice.traded()) for key in range(1, 150)]


def _ctrader(dice: Dice, made: Books) -> None:
    """The ids of operations are those of deals too: they are counted apart."""
    made["deals"] = [
        dice.row(
            key,
            side=dice.rolls.randint(0, 1),
            direction=1,
            profit=dice.maybe(dice.money(), 0.05),
            commission_usd=dice.maybe(dice.money()),
            swap_usd=dice.maybe(dice.money()),
        )
        for key in range(1, 250)
    ]
    made["transactions"] = [dice.row(key, **_movement(dice)) for key in (*range(1, 30), *range(-30, 0))]


def _movement(dice: Dice) -> Row:
    return {
        "side": dice.rolls.choice((2, 2, 3, None)),
        "amount": dice.maybe(dice.money(), 0.05),
        "origin": dice.rolls.choice(("platform", "counterfoil", "inferred")),
    }


def load(connection: psycopg.Connection[Any], made: Books) -> None:
    """Write the rows into the mirror."""
    for table, rows in made.items():
        for row in rows:
            statement = sql.SQL("INSERT INTO mirror.{} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join([sql.Placeholder()] * len(row)),
            )
            connection.execute(statement, list(row.values()))


def call(connection: psycopg.Connection[Any], function: str, *given: object) -> list[Row]:
    """The rows of `analytics.<function>`."""
    holes = sql.SQL(", ").join([sql.Placeholder()] * len(given))
    statement = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier("analytics", function), holes)
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, given).fetchall()


# --- the slow way -----------------------------------------------------------------------------------------------------


def of(made: Books, table: str, account: int, since: Bound = None, until: Bound = None) -> Iterator[Row]:
    """The rows of an account that are there, dated ones of the period when one is given."""
    for row in made.get(table, ()):
        at = row["created_at"]
        if row["account_id"] != account or row["deleted_at"] is not None or at is None:
            continue
        if (since is None or since <= at) and (until is None or at < until):
            yield row


def known(made: Books, account: int) -> Row | None:
    return next((row for row in made["accounts"] if row["id"] == account and row["deleted_at"] is None), None)


def net(deal: Row) -> Decimal:
    return sum((deal.get(name) or ZERO for name in ("profit", *COSTS)), ZERO)


def total(rows: Iterable[Row], *names: str) -> Decimal | None:
    """The sum of what is told; None when nothing is."""
    told = [row[name] for row in rows for name in names if row.get(name) is not None]
    return sum(told, ZERO) if told else None


def trading(made: Books, account: int, since: Bound, until: Bound) -> list[Row]:
    return [row for row in of(made, "deals", account, since, until) if row["side"] not in (2, 3)]


def realised_pnl(made: Books, account: int, since: Bound, until: Bound) -> list[Row]:
    if (holder := known(made, account)) is None:
        return []
    deals = trading(made, account, since, until)
    told = all(any(row.get(name) is not None for name in COSTS) for row in deals)
    return [
        {
            "currency": holder["currency"],
            "net": sum(map(net, deals), ZERO),
            "gross": sum((row["profit"] or ZERO for row in deals), ZERO) if deals and told else None,
            "commission": total(deals, "commission"),
            "swap": total(deals, "swap", "storage"),
            "fee": total(deals, "fee"),
            "commission_usd": total(deals, "commission_usd"),
            "swap_usd": total(deals, "swap_usd"),
            "closing_deals": sum(row["direction"] == 1 for row in deals),
        }
    ]


def rounded(part: int, whole: int, digits: str) -> Decimal | None:
    return (Decimal(part) / whole).quantize(Decimal(digits), ROUND_HALF_UP) if whole else None


def win_loss(made: Books, account: int, since: Bound, until: Bound) -> list[Row]:
    if known(made, account) is None:
        return []
    nets = [net(row) for row in trading(made, account, since, until) if row["direction"] == 1]
    won, lost = sum(value > 0 for value in nets), sum(value < 0 for value in nets)
    return [
        {
            "closing_deals": len(nets),
            "won": won,
            "lost": lost,
            "even": sum(value == 0 for value in nets),
            "ratio": rounded(won, lost, "0.0001"),
            "win_rate": rounded(100 * won, len(nets), "0.01"),
        }
    ]


def most_traded(made: Books, account: int, since: Bound, until: Bound) -> list[Row]:
    counted = "orders" if made.get("orders") else "positions"
    by_id = {row["id"]: row for row in made["symbols"]}
    # A name that was given away again means the symbol that is there.
    by_name = {row["symbol"]: row for row in sorted(made["symbols"], key=lambda row: row["deleted_at"] is None)}
    levels: dict[str, Counter[str | None]] = {"asset_class": Counter(), "category": Counter(), "symbol": Counter()}
    for row in of(made, counted, account, since, until):
        traded = (by_id.get(row["symbol_id"]) if row["symbol_id"] else by_name.get(row["symbol"])) or {}
        levels["symbol"][row["symbol"] or traded.get("symbol")] += 1
        levels["category"][traded.get("category")] += 1
        levels["asset_class"][
            traded["symbol_class"].obj["desc"] if "symbol_class" in traded else traded.get("asset_class")
        ] += 1
    return [
        {
            "level": level,
            "name": name,
            "trades": trades,
            "share": rounded(100 * trades, counts.total(), "0.01"),
            "counted": counted,
        }
        for level, counts in levels.items()
        for name, trades in sorted(counts.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
    ]


def open_positions(made: Books) -> list[Row]:
    return [row for row in made["positions"] if row["deleted_at"] is None and row["status"] != 2]


def sided(rows: Iterable[Row], side: int, name: str) -> Decimal:
    return sum((row[name] for row in rows if row["side"] == side and row[name] is not None), ZERO)


def unsized(rows: Iterable[Row]) -> int:
    return sum(row["volume_base"] is None or row["side"] is None for row in rows)


def by_symbol(rows: Iterable[Row]) -> Iterator[tuple[str | None, list[Row]]]:
    groups: dict[str | None, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["symbol"], []).append(row)
    yield from sorted(groups.items(), key=lambda item: (item[0] is None, item[0] or ""))


def open_volume(made: Books, account: int) -> list[Row]:
    told = []
    for symbol, rows in by_symbol(row for row in open_positions(made) if row["account_id"] == account):
        buy, sell = (sided(rows, side, "volume_base") for side in (0, 1))
        lots = [sided(rows, side, "volume_current") for side in (0, 1)]
        in_lots = any(row["volume_current"] is not None for row in rows)
        told.append(
            {
                "symbol": symbol,
                "positions": len(rows),
                "buy_units": buy,
                "sell_units": sell,
                "net_units": buy - sell,
                "buy_lots": lots[0] if in_lots else None,
                "sell_lots": lots[1] if in_lots else None,
                "net_lots": lots[0] - lots[1] if in_lots else None,
                "unsized": unsized(rows),
            }
        )
    return told


def exposure(made: Books) -> list[Row]:
    told = []
    for symbol, rows in by_symbol(open_positions(made)):
        long, short = (sided(rows, side, "volume_base") for side in (0, 1))
        accounts = len({row["account_id"] for row in rows})
        counts = {"accounts": accounts, "positions": len(rows), "unsized": unsized(rows)}
        told.append({"symbol": symbol, "long_units": long, "short_units": short, "net_units": long - short, **counts})
    return told


def funding(made: Books, account: int, since: Bound, until: Bound) -> list[Row]:
    if (holder := known(made, account)) is None:
        return []
    moved = {}
    for prefix, side in (("", 2), ("credit_", 3)):
        for certain in (True, False):
            amounts = [
                row["amount"]
                for row in of(made, "transactions", account, since, until)
                if row["side"] == side and (row["origin"] != "inferred") is certain and row["amount"] is not None
            ]
            name = prefix if certain else f"inferred_{prefix}"
            moved[f"{name}in"] = sum((amount for amount in amounts if amount > 0), ZERO)
            moved[f"{name}out"] = -sum((amount for amount in amounts if amount < 0), ZERO)
    deposits, withdrawals = moved.pop("in"), moved.pop("out")
    sums = {"deposits": deposits, "withdrawals": withdrawals, "net": deposits - withdrawals}
    return [{"currency": holder["currency"], **sums, **moved}]


def movements(made: Books, account: int) -> Iterator[tuple[date, str, Decimal]]:
    """Day, kind and amount of all that moved the balance."""
    told_as_deal = set()
    for deal in of(made, "deals", account):
        if deal["side"] != 3:
            yield deal["created_at"].date(), "funding" if deal["side"] == 2 else "trading", net(deal)
        if deal["side"] == 2:
            told_as_deal.add(deal["id"])
    for row in of(made, "transactions", account):
        if row["side"] == 2 and row["id"] not in told_as_deal:
            kind = "inferred" if row["origin"] == "inferred" else "funding"
            yield row["created_at"].date(), kind, row["amount"] or ZERO


def balance_curve(made: Books, account: int, since: date | None, until: date | None, today: date) -> list[Row]:
    if (holder := known(made, account)) is None:
        return []
    moved = list(movements(made, account))
    day = since or min((day for day, _, _ in moved), default=today)
    end = min(until or date.max, max([today, *(day for day, _, _ in moved)]) + timedelta(days=1))
    curve = []
    while day < end:
        kinds = ("trading", "funding", "inferred")
        sums = {kind: sum((amount for at, k, amount in moved if (at, k) == (day, kind)), ZERO) for kind in kinds}
        opening = holder["balance"] - sum((amount for at, _, amount in moved if at >= day), ZERO)
        closing = holder["balance"] - sum((amount for at, _, amount in moved if at > day), ZERO)
        curve.append({"day": day, "currency": holder["currency"], "opening": opening, **sums, "closing": closing})
        day += timedelta(days=1)
    return curve
