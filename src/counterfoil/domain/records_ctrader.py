"""Columns that cTrader alone fills, and its own tables (reference, sections 4 and 6); everything else has OMTrader's names."""

GROUPS = """
name                      text       cTrader: name of the group, by which accounts are put into it
"""

SYMBOLS = """
asset_class               text       cTrader: asset class by name; OMTrader has symbol_class
category                  text       cTrader: category by name
quotes_enabled            boolean    cTrader: whether it is quoted
show_in_ctrader           boolean    cTrader: whether traders see it
"""

ACCOUNTS = """
group_name                text       cTrader: groups.name
description               text       cTrader: free text; ends in our marker where the account is of our making
access_rights             text       cTrader: FULL_ACCESS, CLOSE_ONLY, NO_TRADING or NO_LOGIN
account_type              text       cTrader: HEDGED, NETTED or SPREAD_BETTING
margin_calculation        text       cTrader: MAX, SUM or NET
broker_name               text       cTrader: white label
bonus                     number     cTrader: account currency; the ledger of the bonus call, apart from credit
cash_equity               number     cTrader: account currency; what may be withdrawn
leverage_in_cents         integer    cTrader: 100 times 1:x, exact; leverage holds whole 1:x
max_leverage_in_cents     integer    cTrader: 100 times 1:x
swap_free                 boolean    cTrader: rollover commission instead of swaps
limited_risk              boolean    cTrader: guaranteed stop losses
limited_risk_strategy     text       cTrader: how margin follows from leverage and guaranteed stop losses
send_own_statement        boolean    cTrader: daily statement to the trader
send_statement_to_broker  boolean    cTrader: daily statement to the broker
document_id               text       cTrader: number of an identity document
country_id                integer    cTrader: ISO 3166-1 numeric
introducing_broker_1      text       cTrader: label of the first partner
introducing_broker_2      text       cTrader: label of the second partner
min_equity_daily          number     cTrader: account currency; since 00:00 UTC
max_equity_daily          number     cTrader: account currency; since 00:00 UTC
last_connection_at        timestamp  cTrader: last connection; null: none yet, or not sent
"""

POSITIONS = """
commission_usd            number     cTrader: US dollars
swaps_usd                 number     cTrader: US dollars
margin_used               number     cTrader: account currency
book_type                 text       cTrader: BOOK_A or BOOK_B
stake                     number     cTrader: account currency; of spread betting
spread_betting            boolean    cTrader: whether it is a bet
"""

DEALS = """
commission_usd            number     cTrader: US dollars; contained in profit
swap_usd                  number     cTrader: US dollars; contained in profit
deposit_conversion_rate   number     cTrader: base asset to account currency
usd_conversion_rate       number     cTrader: base asset to US dollars
opened_at                 timestamp  cTrader: when the position was opened
book_type                 text       cTrader: BOOK_A or BOOK_B
stake                     number     cTrader: account currency; of spread betting
spread_betting            boolean    cTrader: whether it was a bet
"""

_SUBACCOUNTS = """
account_id                integer    cTrader: the owner, accounts.id; the same as id
logins                    json       cTrader: array of the logins of the copy sub-accounts
balance                   number     cTrader: account currency of the owner; all sub-accounts together
equity                    number     cTrader: account currency of the owner; all sub-accounts together
"""

_DEPOSIT_ASSETS = """
name                      text       cTrader: currency in which accounts may be held
"""

TABLES: tuple[dict[str, str], ...] = (
    {
        "name": "subaccounts",
        "comment": "Copy sub-accounts of an account, together; cTrader only",
        "block": _SUBACCOUNTS,
        "indexes": "version",
    },
    {
        "name": "deposit_assets",
        "comment": "Currencies of accounts; ids are ours, made from the name; cTrader only",
        "block": _DEPOSIT_ASSETS,
        "indexes": "version",
    },
)
