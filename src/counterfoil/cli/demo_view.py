"""What the demo shows: the mirror of each platform, what the CRM did there, and what can be computed from it."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

import httpx
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.cli.demo_crm import DemoCrm, Done, achieved
from counterfoil.store import engine, report

# Seconds between two doings of the CRM, and between two computations.
ACT, COMPUTE = 1.0, 2.0
# The account that traded most, and what all accounts together hold most of.
_ANALYTICS = sa.text("""
    SELECT b.account_id AS account, p.currency, p.net, w.won, w.lost, w.win_rate, e.symbol, e.net_units
    FROM (SELECT d.account_id FROM mirror.deals d WHERE d.platform = :platform AND d.direction = 1 AND d.deleted_at IS NULL
        GROUP BY d.account_id ORDER BY count(*) DESC, d.account_id LIMIT 1) b
    CROSS JOIN LATERAL analytics.realised_pnl(:platform, b.account_id) p
    CROSS JOIN LATERAL analytics.win_loss(:platform, b.account_id) w
    LEFT JOIN LATERAL (SELECT x.symbol, x.net_units FROM analytics.exposure(:platform) x
        ORDER BY abs(x.net_units) DESC LIMIT 1) e ON true
""")


class Lines:
    """What a live view becomes where there is no terminal: some lines every few seconds."""

    EVERY = 3.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, shown: "Shown") -> None:
        """Print it, unless the last one is not long ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.EVERY
            for line in shown.lines:
                self._console.print(line, soft_wrap=True, markup=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """One look, as tables and as lines."""

    tables: Group
    lines: list[str]

    def __rich__(self) -> Group:
        return self.tables


@dataclass(frozen=True, slots=True)
class Computed:
    """What schema analytics says of a platform: the account that traded most, and the largest exposure of all."""

    account: int
    net: str
    won: int
    lost: int
    win_rate: str
    exposure: str

    @property
    def line(self) -> str:
        """In words."""
        return f"account {self.account} realised {self.net}, won {self.won}, lost {self.lost}; exposure {self.exposure}"


@dataclass(slots=True)
class View:
    """What the database and the daemon's metrics say of these platforms; `per_second`: requests that each allows."""

    url: str
    metrics_url: str
    platforms: tuple[str, ...]
    per_second: int
    begun: float = field(default_factory=time.monotonic)
    first_row_after: float | None = None
    crm: DemoCrm = field(init=False)
    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    first: dict[tuple[str, str], int] = field(default_factory=dict)
    ages: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    done: Mapping[str, Done] = field(default_factory=dict)
    computed: dict[str, Computed] = field(default_factory=dict)
    _before: tuple[Mapping[str, float], float] = ({}, 0.0)
    _engine: AsyncEngine | None = None
    _acted: float = 0.0
    _computed_at: float = 0.0

    def __post_init__(self) -> None:
        self.crm = DemoCrm(self.platforms)

    async def look(self) -> None:
        """Read everything once; a part that does not answer yet is asked again at the next look."""
        self._engine = self._engine or engine.create(self.url, pool_size=1)
        with contextlib.suppress(SQLAlchemyError, OSError):
            self.rows = await report.rows(self._engine)
            found = (await report.read(self._engine)).resources
            self.ages = {(row.resource, row.platform): row.age.total_seconds() for row in found if row.age is not None}
        if time.monotonic() - self._acted >= ACT:
            self._acted = time.monotonic()
            await self.crm.act(self._engine)
        with contextlib.suppress(SQLAlchemyError, OSError):
            self.done = await achieved(self._engine)
        if time.monotonic() - self._computed_at >= COMPUTE:
            self._computed_at = time.monotonic()
            with contextlib.suppress(SQLAlchemyError, OSError):
                await self._compute(self._engine)
        if self.first_row_after is None and any(self.rows.values()):
            self.first_row_after = time.monotonic() - self.begun
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False) as client:
                self._count((await client.get(self.metrics_url)).text)

    async def close(self) -> None:
        """Let the database go."""
        if self._engine is not None:
            await self._engine.dispose()

    async def _compute(self, database: AsyncEngine) -> None:
        async with database.connect() as connection:
            for platform in self.platforms:
                row = (await connection.execute(_ANALYTICS, {"platform": platform})).one_or_none()
                if row is not None:
                    rate = "" if row.win_rate is None else f"{row.win_rate} %"
                    exposure = "none" if row.symbol is None else f"{row.symbol} {_units(row.net_units)}"
                    net = f"{row.net:+,f} {row.currency}"
                    self.computed[platform] = Computed(row.account, net, row.won, row.lost, rate, exposure)

    def _count(self, text: str) -> None:
        totals: dict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "counterfoil_requests_total":
                    totals[sample.labels["platform"]] += sample.value
        now = time.monotonic()
        before, at = self._before
        if now - at >= 1:
            if at:
                self.rates = {name: max(0.0, totals[name] - before.get(name, 0.0)) / (now - at) for name in totals}
            self._before = (totals, now)

    # --- on a terminal --------------------------------------------------------------------------------------------------

    def shown(self) -> Shown:
        """One look, ready to print."""
        first = "" if self.first_row_after is None else f"first row after {self.first_row_after:.1f} s; "
        end = Text(f"{first}Ctrl-C ends it")
        # A window that is not high enough shows no end: what is long comes last.
        parts = (self._crm(), Text(), self._analytics(), Text(), self._mirror(), end)
        return Shown(Group(*parts), list(self._lines()))

    def _mirror(self) -> Table:
        table = _table("mirror.", *(word for name in self.platforms for word in (name, "arriving", "s old")))
        for name, by_platform in self.rows.items():
            cells = [cell for platform in self.platforms for cell in self._cells(name, platform, by_platform)]
            table.add_row(name, *cells)
        rates = [cell for platform in self.platforms for cell in (f"{self.rates.get(platform, 0):.0f}", "", "")]
        table.add_row("requests / s", *rates)
        return table

    def _cells(self, name: str, platform: str, by_platform: Mapping[str, int]) -> tuple[str, str, str]:
        rows = by_platform.get(platform)
        if rows is None:
            return ("", "", "")
        arriving = rows - self.first.setdefault((name, platform), rows)
        age = self.ages.get((name, platform))
        return f"{rows:,}", f"+{arriving:,}" if arriving > 0 else "", "" if age is None else f"{age:.0f}"

    def _crm(self) -> Table:
        table = _table("CRM →", "people", "accounts", "KYC passed", "deposits", "withdrawals", "payouts")
        for name in ("", *self.platforms):
            done = self.done.get(name, Done())
            if name or done.people:
                table.add_row(name or "not chosen yet", *map(_cell, done.figures()))
        return table

    def _analytics(self) -> Table:
        table = _table("analytics.", "account", "realised P&L", "won", "lost", "win rate", "largest exposure")
        for name, found in sorted(self.computed.items(), key=lambda item: self.platforms.index(item[0])):
            figures = (str(found.account), found.net, str(found.won), str(found.lost), found.win_rate, found.exposure)
            table.add_row(name, *figures)
        return table

    # --- elsewhere ------------------------------------------------------------------------------------------------------

    def _lines(self) -> Iterator[str]:
        for name in self.platforms:
            told = ", ".join(f"{table} {here:,}" for table, rows in self.rows.items() if (here := rows.get(name)))
            asked = f"{self.rates.get(name, 0):.0f} of {self.per_second} requests a second"
            yield f"{name}: {told or 'nothing yet'}; {asked}"
            if name in self.done:
                yield f"{name}, CRM: {self.done[name].line}"
            if name in self.computed:
                yield f"{name}, analytics: {self.computed[name].line}"


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, justify="left", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cell(figure: int) -> str:
    return f"{figure:,}" if figure else ""


def _units(volume: Decimal) -> str:
    """Base units, long or short, without trailing zeros."""
    whole, _, rest = f"{abs(volume):,f}".partition(".")
    return f"{'long' if volume >= 0 else 'short'} {whole}{'.' if rest.strip('0') else ''}{rest.rstrip('0')}"
