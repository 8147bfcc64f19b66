"""The columns of the mirror: complete, explained, and never what must not be kept."""

import re
from dataclasses import FrozenInstanceError

import pytest

from counterfoil.domain import records
from counterfoil.domain.records import TABLES, Kind

COLUMNS = [(table.name, column) for table in TABLES.values() for column in table.columns]
BOOKKEEPING = {"platform", "id", "extra", "first_seen_at", "changed_at", "deleted_at", "version"}
# Names of money, prices and volumes; what else has such a name is listed with its reason.
AMOUNT = re.compile(
    r"balance|credit|equity|profit|price|volume|amount|commission|swap|fee$|margin|storage|contract_size|tick_|loss"
)
COUNTS = {
    "compensate_negative_balance": "yes or no",
    "commission_tiers": "a list",
    "limit_positions_volume": "the platform documents whole lots",
    "margin_calculation": "a choice",
    "margin_flags": "bits",
    "margin_mode": "a choice",
    "mode_profit": "a choice",
    "spread_balance": "points",
    "swap_days": "a list",
    "swap_free": "yes or no",
    "swap_days_year": "days",
    "swap_type": "a choice",
    "swaps_enabled": "yes or no",
}


def test_the_tables_are_those_of_the_contract():
    assert set(TABLES) == {
        "clients", "accounts", "groups", "symbols", "group_symbols", "commissions", "orders", "positions", "deals",
        "transactions", "subaccounts", "deposit_assets",
    }  # fmt: skip


def test_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        TABLES["deals"] = TABLES["orders"]
    with pytest.raises(FrozenInstanceError):
        TABLES["deals"].name = "other"


@pytest.mark.parametrize("table", TABLES)
def test_a_column_has_one_name_that_is_not_one_of_the_bookkeeping(table):
    names = TABLES[table].column_names
    assert len(set(names)) == len(names)
    assert BOOKKEEPING.isdisjoint(names)
    wires = [column.wire for column in TABLES[table].columns if column.wire]
    assert len(set(wires)) == len(wires)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_explained_and_can_be_followed_by_version(table):
    assert TABLES[table].comment
    assert "version" in TABLES[table].indexes
    assert set(TABLES[table].indexes) - {"version"} <= set(TABLES[table].column_names)


def test_every_column_says_what_null_means():
    assert [(table, column.name) for table, column in COLUMNS if "null:" not in column.comment] == []


def test_a_column_that_says_nothing_else_is_null_when_it_was_not_sent():
    (column,) = records._columns("price  number  what it costs")
    assert (column.name, column.wire, column.kind) == ("price", "price", Kind.NUMBER)
    assert column.comment == "what it costs; null: not sent by the platform"


def test_misspelt_fields_are_mended_and_still_read():
    mended = {column.name: column.wire for _, column in COLUMNS if column.wire and column.wire != column.name}
    assert mended["exit_loss"] == "exit_loos"
    assert mended["liquidation_status"] == "liqudation_status"
    assert "expiration_policy" in TABLES["orders"].column_names


def test_money_prices_and_volumes_are_exact_numbers():
    inexact = {column.name for _, column in COLUMNS if AMOUNT.search(column.name) and column.kind is not Kind.NUMBER}
    assert inexact == COUNTS.keys()
    assert {column.kind for _, column in COLUMNS if column.name in ("balance", "profit", "price", "amount")} == {
        Kind.NUMBER
    }


def test_no_column_is_made_for_a_password():
    assert [column.name for _, column in COLUMNS if re.search(r"passw|pwd|secret|token", column.name)] == []


@pytest.mark.parametrize(
    ("table", "computed"),
    [
        ("orders", {"symbol"}),
        ("positions", {"symbol", "volume_base"}),
        ("deals", {"symbol", "volume_base"}),
        ("accounts", set()),
    ],
)
def test_computed_columns_have_no_field_and_neither_have_those_of_the_other_platform(table, computed):
    without = [column for column in TABLES[table].columns if column.wire is None]
    assert {column.name for column in without if not column.comment.startswith("cTrader: ")} == computed


def test_a_table_is_made_of_its_blocks():
    table = records._table(
        "t", "what it holds", "a=aa integer first\nb text second; null: none", computed="c number third", indexes="a b"
    )
    assert (table.name, table.comment, table.indexes) == ("t", "what it holds", ("a", "b"))
    assert [(column.name, column.kind, column.wire) for column in table.columns] == [
        ("a", Kind.INTEGER, "aa"),
        ("b", Kind.TEXT, "b"),
        ("c", Kind.NUMBER, None),
    ]
    assert [column.comment for column in table.columns] == [
        f"first; {records.NOT_SENT}",
        "second; null: none",
        f"third; {records.NOT_SENT}",
    ]
    assert records._table("t", "", "a text x").indexes == ()
    assert len(records._table("t", "", "a text x").columns) == 1
