"""Columns of the broker's set-up: groups, symbols, group symbols, commissions (reference, sections 5.3 to 5.5)."""

from counterfoil.domain import records_ctrader

GROUPS = """
root                         boolean    root groups override their children
parent_id                    integer    groups.id of the parent; 0 for a root
group_type                   integer    0 client, 1 admin
desc                         text       display name
status                       text       free text
currency                     text       currency of the group's accounts
currency_digits              integer    digits after the decimal point of that currency
default_leverage             integer    1:x
limit_history                integer    null: no limit, or not sent
limit_orders                 integer    pending orders allowed; null: no limit, or not sent
limit_positions              integer    open positions allowed; null: no limit, or not sent
limit_positions_volume       integer    open volume allowed, lots; null: no limit, or not sent
limit_symbols                integer    symbols allowed; null: no limit, or not sent
margin_mode                  integer    0 percentage, 1 money
margin_call                  number     level of the margin call, in the unit of margin_mode
margin_stop_out              number     level of the stop out, in the unit of margin_mode
full_stop_out                boolean    true: a stop out closes everything
compensate_negative_balance  boolean    whether the broker makes up for a negative balance
groups                       json       child groups when the platform nests them; each is a row of its own too
trade_accounts               json       accounts when the platform expands them, passwords removed
created_at                   timestamp  when the platform created the record
created_by                   integer    user who created the record
updated_at                   timestamp  when the platform last changed the record
updated_by                   integer    user who last changed the record
"""

_SYMBOL_SETTINGS = """
desc                         text       long name
isin                         text       ISIN or internal code
base_currency                text       base currency
quote_currency               text       quote currency
symbol_scale                 integer    digits of the base currency
quote_scale                  integer    digits of the quote currency
broker_fee                   number     fee per trade
maker_fee                    number     fee per trade
symbol_class                 json       asset class: id, parent_id, desc …
symbol_class_id              integer    asset class id
margin_flags                 integer    bit flags
margin_initial               number     margin rate
margin_maintenance           number     margin rate
margin_buy                   number     margin rate
margin_sell                  number     margin rate
margin_hedged                number     margin rate
buy_limit                    number     margin rate of that order type
sell_limit                   number     margin rate of that order type
buy_stop                     number     margin rate of that order type
sell_stop                    number     margin rate of that order type
buy_stop_limit               number     margin rate of that order type
sell_stop_limit              number     margin rate of that order type
maintenance_margin_buy       number     margin rate
maintenance_margin_sell      number     margin rate
maintenance_buy_limit        number     margin rate of that order type
maintenance_sell_limit       number     margin rate of that order type
maintenance_buy_stop         number     margin rate of that order type
maintenance_sell_stop        number     margin rate of that order type
maintenance_buy_stop_limit   number     margin rate of that order type
maintenance_sell_stop_limit  number     margin rate of that order type
enabled                      boolean    tradable
trade_level                  integer    0 full, 1 buy, 2 sell, 3 close, 4 disabled
status                       integer    0 enabled, 1 disabled … 6 time limit expired
execution                    integer    0 instant, 1 request, 2 market, 3 exchange
gtc                          integer    policy flag
filling                      integer    0 fill or kill, 1 immediate or cancel
expiration                   text       expiration policies allowed, comma list
orders                       text       order types allowed, comma list
min_value                    number     smallest volume, lots
max_value                    number     largest volume, lots
step                         number     volume step, lots
swaps_enabled                boolean    whether overnight charges apply
swap_type                    integer    0 points, 1 money, 2 current price, 3 open price
swap_long                    number     overnight charge of a long position, in the unit of swap_type
swap_short                   number     overnight charge of a short position, in the unit of swap_type
swap_days                    json       factor per weekday, as sent
swap_days_year               integer    days of a year for the overnight charge
digits                       integer    price decimals
contract_size                number     base units per lot
calculation                  integer    0 forex, 1 forex no leverage, 2 CFD, 3 CFD leverage, 4 futures
spread                       integer    points
spread_balance               integer    points
stop_level                   integer    points
tick_size                    number     smallest price change
tick_value                   number     value of a tick
conversion_currency          text       currency of the conversion
conversion_type              integer    0 multiply, 1 divide
symbol_map                   json       as sent
quote_sessions               json       as sent
trade_sessions               json       as sent
time_limit                   json       as sent
timeout                      integer    as sent; unit not documented
max_loss_deviation           number     as sent; unit not documented
max_profit_deviation         number     as sent; unit not documented
max_time_deviation           number     as sent; unit not documented
delay                        integer    as sent; unit not documented
larger_leg_enabled           boolean    margin of the larger leg only
created_at                   timestamp  when the platform created the record
created_by                   integer    user who created the record
updated_at                   timestamp  when the platform last changed the record
updated_by                   integer    user who last changed the record
"""

SYMBOLS = (
    """
symbol                       text       code such as USDCHF
"""
    + _SYMBOL_SETTINGS
)

# The rows of a group's symbol list are not documented. Assumed: their own id, the two ids below, and settings of the symbol.
GROUP_SYMBOLS = (
    """
group_id                     integer    groups.id
symbol_id                    integer    symbols.id
symbol                       text       code such as USDCHF
"""
    + _SYMBOL_SETTINGS
)

COMMISSIONS = """
group_id          integer    groups.id of the owner
symbol_class_id   integer    asset class that it applies to
name              text       label
desc              text       description
mode              integer    calculation mode; values not documented
mode_range        integer    what a tier's range measures; values not documented
mode_charge       integer    per order, unit or percent; values not documented
mode_entry        integer    charged on entry; values not documented
mode_action       integer    buy, sell or both; values not documented
mode_profit       integer    tied to profit; values not documented
mode_reason       integer    which trade reasons count; values not documented
commission_tiers  json       array of mode, type, value, range_from (inclusive), range_to (exclusive), min, max, currency
created_at        timestamp  when the platform created the record
created_by        integer    user who created the record
updated_at        timestamp  when the platform last changed the record
updated_by        integer    user who last changed the record
"""

TABLES: tuple[dict[str, str], ...] = (
    {
        "name": "groups",
        "comment": "Account groups and their trading conditions",
        "block": GROUPS,
        "ctrader": records_ctrader.GROUPS,
        "indexes": "version",
    },
    {
        "name": "symbols",
        "comment": "Instruments and their contract terms",
        "block": SYMBOLS,
        "ctrader": records_ctrader.SYMBOLS,
        "indexes": "version",
    },
    {
        "name": "group_symbols",
        "comment": "Terms of a symbol for the accounts of one group",
        "block": GROUP_SYMBOLS,
        "indexes": "version",
    },
    {
        "name": "commissions",
        "comment": "Commission set-ups of groups",
        "block": COMMISSIONS,
        "indexes": "version",
    },
)
