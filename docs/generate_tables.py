"""Writes docs/tables.md from the tables of the code: `python docs/generate_tables.py`."""  # noqa: INP001 - a script

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from counterfoil.domain.records import NOT_SENT, TABLES, Table
from counterfoil.store.tables import MIRROR

PAGE = Path(__file__).with_name("tables.md")
COMMON = ("extra", "first_seen_at", "changed_at", "deleted_at", "version")

HEAD = f"""\
# Tables of the mirror

Written by `python docs/generate_tables.py`; a test holds it to the code.

Key of every table: `platform text`, `id bigint`. Every table also has `extra`, `first_seen_at`, `changed_at`,
`deleted_at` and `version`; [contract.md](contract.md#tables) explains them. The same texts are comments in the database:
`\\d+ mirror.deals` in psql shows them.

Null means "{NOT_SENT.removeprefix("null: ")}" unless a column says otherwise. `sent as` stands where the platform spells the
field otherwise; `computed` where no field fills the column directly.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *map(section, TABLES.values())])


def section(table: Table) -> str:
    """One table."""
    columns = {column.name: column for column in table.columns}
    rows = []
    for built in MIRROR[table.name].columns:
        if built.primary_key or built.name in COMMON:
            continue
        meaning = columns[built.name].comment.removesuffix(f"; {NOT_SENT}")
        rows.append(f"| `{built.name}` | {sql_type(built)} | {meaning}{spelling(table, built.name)} |")
    indexed = ", ".join(f"`{name}`" for name in table.indexes)
    return "\n".join(
        [
            f"## {table.name}\n",
            f"{table.comment}. Indexed: {indexed}.\n",
            "| column | type | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def spelling(table: Table, name: str) -> str:
    """What the platform calls the column, where that differs."""
    column = next(column for column in table.columns if column.name == name)
    wire = column.wire
    if wire is None:
        return "" if column.comment.startswith("cTrader: ") else "; computed"
    return "" if wire == name else f"; sent as `{wire}`"


def sql_type(column: "sa.Column[object]") -> str:
    """As PostgreSQL names it."""
    name = column.type.compile(dialect=postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
    return "timestamptz" if name.startswith("timestamp") else name


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
