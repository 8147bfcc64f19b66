"""Columns of trading: orders, positions, deals (reference, sections 5.6 to 5.8)."""

from counterfoil.domain import records_ctrader

_SYMBOL_NAME = """
symbol                  text       code such as EURUSD; null: the symbol is not mirrored yet
"""

ORDERS = """
user_id                 integer    who placed it
account_id              integer    accounts.id
symbol_id               integer    symbols.id
position_id             integer    positions.id; 0 or null: none yet
position_by_id          integer    opposite position of a close-by; 0 or null: none
dealer_id               integer    dealer who handled it
type                    integer    0 market, 1 buy limit, 2 buy stop, 3 sell limit, 4 sell stop, 5 and 6 stop limits
side                    integer    0 buy, 1 sell
status                  integer    0 placed, 1 started, 2 partially filled, 3 filled, 4 cancelled, 5 rejected, 6 expired, 7 requoted
reason                  integer    0 client … 19 migration
type_fill               integer    0 fill or kill, 1 immediate or cancel
type_time               integer    as sent; values not documented
expiration_policy       integer    0 GTC, 1 day, 2 specified time, 3 specified day
volume_initial          number     lots ordered
volume_current          number     lots not filled yet
volume_initial_ext      number     liquidity provider's volume
volume_current_ext      number     liquidity provider's volume
price_order             number     price asked for
price_trigger           number     trigger of a stop limit
price_current           number     market price
price_sl                number     stop loss; null: none set, or not sent
price_tp                number     take profit; null: none set, or not sent
rate_margin             number     conversion to account currency
contract_size           number     base units per lot
digits                  integer    price decimals
digits_currency         integer    money decimals
exit_level              integer    0 nothing, 1 profit, 2 loss, 3 script
exit_profit             number     exit threshold
exit_loss=exit_loos     number     exit threshold
comment                 text       free text
external_id             text       the liquidity provider's reference, not the CRM's
time_setup              timestamp  when it was placed
time_expiration         timestamp  when it expires; null: it does not, or not sent
time_done               timestamp  when it was filled or withdrawn; null: still live, or not sent
account                 json       the account when the platform expands it, passwords removed
position                json       the position when the platform expands it
position_by             json       the opposite position when the platform expands it
created_at              timestamp  when the platform created the record
created_by              integer    user who created the record
updated_at              timestamp  when the platform last changed the record
updated_by              integer    user who last changed the record
"""

POSITIONS = """
external_id             text       the liquidity provider's reference, not the CRM's
account_id              integer    accounts.id
dealer_id               integer    dealer who handled it
symbol_id               integer    symbols.id
action                  integer    values not documented
digits                  integer    price decimals
digits_currency         integer    money decimals
reason                  integer    0 client … 19 migration
contract_size           number     base units per lot
price_open              number     opening price
price_current           number     market price
price_sl                number     stop loss; null: none set, or not sent
price_tp                number     take profit; null: none set, or not sent
profit                  number     account currency; floating while open
exit_level              number     see the reference: close price or exit level, the sources disagree
exit_profit             number     account currency; realised when closed
exit_loss=exit_loos     number     account currency; realised when closed
storage                 number     account currency; overnight charge
rate_profit             number     conversion to account currency
rate_margin             number     conversion to account currency
comment                 text       free text
volume_initial_ext      number     liquidity provider's volume
volume_current_ext      number     liquidity provider's volume
volume_initial          number     lots opened
volume_current          number     lots still open
swaps                   number     account currency
commission              number     account currency
total_profit            number     account currency; with swaps and commission
side                    integer    0 buy, 1 sell
status                  integer    0 open, 1 closing, 2 closed
account                 json       the account when the platform expands it, passwords removed
deals                   json       the deals when the platform expands them
created_at              timestamp  when it was opened
created_by              integer    user who created the record
updated_at              timestamp  when the platform last changed the record; of a closed position, when it closed
updated_by              integer    user who last changed the record
"""

POSITIONS_COMPUTED = (
    _SYMBOL_NAME
    + """
volume_base             number     base units still open: volume_current * contract_size; null: one of them was not sent
"""
)

DEALS = """
external_id             text       the liquidity provider's reference, not the CRM's
account_id              integer    accounts.id
dealer_id               integer    dealer who handled it
order_id                integer    orders.id; 0: none
action                  integer    values not documented
entry                   integer    in or out; values not documented
reason                  integer    0 client … 19 migration
digits                  integer    price decimals
digits_currency         integer    money decimals
contract_size           number     base units per lot
symbol_id               integer    symbols.id; 0: none
price                   number     execution price
external_volume         number     liquidity provider's volume
profit                  number     account currency; realised
storage                 number     account currency; overnight charge
commission              number     account currency
profit_raw              number     account currency; before adjustments
price_position          number     price of the position
price_sl                number     stop loss; null: none set, or not sent
price_tp                number     take profit; null: none set, or not sent
external_volume_closed  number     liquidity provider's volume
tick_value              number     value of a tick
tick_size               number     smallest price change
volume                  number     lots
closed_volume           number     lots closed
position_id             integer    positions.id; 0: none
comment                 text       free text
swap                    number     account currency
fee                     number     account currency
market_bid              number     bid at execution
market_ask              number     ask at execution
market_last             number     last price at execution
side                    integer    0 buy, 1 sell, 2 balance, 3 credit
direction               integer    0 in, 1 out
channel                 integer    0 mobile, 1 web, 2 desktop, 3 api, 4 script, 5 system, 6 sdk
account                 json       the account when the platform expands it, passwords removed
created_at              timestamp  execution time
created_by              integer    user who created the record
updated_at              timestamp  when the platform last changed the record
updated_by              integer    user who last changed the record
"""

DEALS_COMPUTED = (
    _SYMBOL_NAME
    + """
volume_base             number     base units: volume * contract_size; null: one of them was not sent
"""
)

TABLES: tuple[dict[str, str], ...] = (
    {
        "name": "orders",
        "comment": "Live orders and their history",
        "block": ORDERS,
        "computed": _SYMBOL_NAME,
        "indexes": "account_id version",
    },
    {
        "name": "positions",
        "comment": "Open positions and their history",
        "block": POSITIONS,
        "computed": POSITIONS_COMPUTED,
        "ctrader": records_ctrader.POSITIONS,
        "indexes": "account_id version",
    },
    {
        "name": "deals",
        "comment": "Ledger of executions and balance operations",
        "block": DEALS,
        "computed": DEALS_COMPUTED,
        "ctrader": records_ctrader.DEALS,
        "indexes": "account_id version",
    },
)
