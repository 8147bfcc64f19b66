"""Field names, their order and their misspellings, as the reference lists them (sections 5.1 to 5.9)."""

import json
import re

import pytest

from counterfoil.sandbox.books import Books
from counterfoil.sandbox.rows import BALANCE

DEAL = """
    id external_id account_id dealer_id order_id action entry reason digits digits_currency contract_size symbol_id price
    external_volume profit storage commission profit_raw price_position price_sl price_tp external_volume_closed tick_value
    tick_size volume closed_volume position_id comment swap fee market_bid market_ask market_last side direction channel
    symbol account created_at updated_at
"""
POSITION = """
    id external_id account_id dealer_id symbol_id action digits digits_currency reason contract_size price_open price_current
    price_sl price_tp profit exit_level exit_profit exit_loos storage rate_profit rate_margin comment volume_initial_ext
    volume_current_ext volume_initial volume_current swaps commission total_profit side status created_at updated_at
    created_by
"""
ORDER = """
    id account_id symbol_id position_id position_by_id dealer_id type side status reason type_fill expiration_policy type_time
    volume_initial volume_current volume_initial_ext volume_current_ext price_order price_trigger price_current price_sl
    price_tp rate_margin contract_size digits digits_currency exit_level exit_profit exit_loos comment external_id time_setup
    time_expiration time_done created_at updated_at created_by updated_by symbol account position position_by
"""
ACCOUNT = """
    id user_id client_id group_id currency currency_digits balance credit equity margin margin_free margin_level
    margin_initial margin_maintenance margin_leverage profit floating storage assets liabilities blocked_commission
    blocked_profit day_profit week_profit month_profit leverage trade_type liqudation_status enable_risk_management
    max_day_loss max_day_profit max_week_loss max_week_profit max_month_loss max_month_profit user orders positions deals
"""
CLIENT = """
    id user_id type status kyc_status manager_id preferred_group approved_by approval_date close_date last_contact_date
    lead_source lead_campaign introducer title first_name middle_name family_name gender birth_date language
    preferred_method mobile messengers social_networks external_id document_type document_number issue_date expiry_date
    comment country state city zip_code address national tax_id employment_status employment_industry education_level
    source_of_wealth net_worth annual_income annual_deposit forex_experience stocks_experience cfd_experience email
    local_number futures_experience accounts created_at created_by updated_at updated_by
"""
GROUP = """
    id root parent_id group_type desc status currency currency_digits default_leverage limit_history limit_orders
    limit_positions limit_positions_volume limit_symbols margin_mode margin_call margin_stop_out full_stop_out
    compensate_negative_balance groups trade_accounts created_at updated_at created_by
"""
SYMBOL = """
    id symbol isin desc base_currency quote_currency symbol_scale quote_scale broker_fee maker_fee symbol_class margin_flags
    margin_initial margin_maintenance margin_buy margin_sell buy_limit sell_limit buy_stop sell_stop buy_stop_limit
    sell_stop_limit maintenance_margin_buy maintenance_margin_sell maintenance_buy_limit maintenance_sell_limit
    maintenance_buy_stop maintenance_sell_stop maintenance_buy_stop_limit maintenance_sell_stop_limit enabled trade_level
    execution gtc filling expiration orders min_value max_value step swaps_enabled swap_type swap_long swap_short digits
"""
COMMISSION = """
    id group_id symbol_class_id name desc mode mode_range mode_charge mode_entry mode_action mode_profit mode_reason
    commission_tiers
"""
TRANSACTION = "id account_id side direction profit amount currency comment created_at updated_at"

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{5,9}Z")


@pytest.fixture(scope="module")
def books():
    return Books(clients=10, accounts=30, deals=1_500, seed=2)


def rows(books, resource):
    return [json.loads(row) for row in books.rows(resource)]


@pytest.mark.parametrize(
    ("resource", "names"),
    [
        ("deals", DEAL),
        ("positions", POSITION),
        ("positions_history", POSITION),
        ("orders", ORDER),
        ("orders_history", ORDER),
        ("accounts", ACCOUNT),
        ("clients", CLIENT),
        ("groups", GROUP),
    ],
)
def test_a_row_has_exactly_the_documented_fields_in_their_order(books, resource, names):
    assert {tuple(row) for row in rows(books, resource)} == {tuple(names.split())}


@pytest.mark.parametrize(
    ("resource", "names"), [("symbols", SYMBOL), ("group_symbols", SYMBOL), ("commissions", COMMISSION)]
)
def test_a_row_begins_with_the_documented_fields(books, resource, names):
    wanted = names.split()
    assert {tuple(row)[: len(wanted)] for row in rows(books, resource)} == {tuple(wanted)}


def test_a_transaction_has_the_assumed_fields(books):
    assert all(set(TRANSACTION.split()) <= set(row) for row in rows(books, "transactions"))


@pytest.mark.parametrize(
    "resource", ["deals", "positions_history", "orders_history", "clients", "groups", "transactions"]
)
def test_stamps_are_utc_with_five_to_nine_digits(books, resource):
    stamps = [row[name] for row in rows(books, resource) for name in ("created_at", "updated_at")]
    assert all(STAMP.fullmatch(stamp) for stamp in stamps)


def test_stamps_vary_in_length(books):
    assert len({len(row["created_at"]) for row in rows(books, "deals")}) == 5


def test_no_row_of_any_kind_names_a_password(books):
    text = b"".join(b"".join(books.rows(name)) for name in ("accounts", "clients", "deals", "transactions"))
    assert text
    assert b"password" not in text


def test_the_status_tells_the_living_from_the_dead(books):
    assert {row["status"] for row in rows(books, "positions")} == {0}
    assert {row["status"] for row in rows(books, "positions_history")} == {2}
    assert {row["status"] for row in rows(books, "orders")} == {0}
    assert {row["status"] for row in rows(books, "orders_history")} >= {3, 4}


def test_deals_point_to_orders_and_positions_that_exist(books):
    positions = {row["id"] for name in ("positions", "positions_history") for row in rows(books, name)}
    orders = {row["id"] for row in rows(books, "orders_history")}
    traded = [row for row in rows(books, "deals") if row["side"] < BALANCE]
    assert {row["position_id"] for row in traded} <= positions
    assert {row["order_id"] for row in traded if row["direction"] == 0} <= orders
    assert {row["order_id"] for row in traded if row["direction"] == 1} == {0}


def test_a_yen_account_has_no_decimals(books):
    yen = [row for row in rows(books, "accounts") if row["currency"] == "JPY" and row["balance"]]
    assert yen
    assert all(isinstance(row[name], int) for row in yen for name in ("balance", "equity", "margin", "floating"))


def test_comments_with_quotes_and_tabs_survive(books):
    assert any('"hello, world"; tab\t' in row["comment"] for row in rows(books, "clients"))


def test_a_closed_position_adds_up_from_its_deals(books):
    deals = rows(books, "deals")
    for position in rows(books, "positions_history")[:50]:
        own = [deal for deal in deals if deal["position_id"] == position["id"]]
        assert round(sum(deal["profit"] for deal in own), 2) == position["profit"]
        assert round(sum(deal["commission"] for deal in own), 2) == position["commission"]
        assert round(sum(deal["closed_volume"] for deal in own), 2) == position["volume_initial"]
