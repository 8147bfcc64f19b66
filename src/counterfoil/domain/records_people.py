"""Columns of the people and their money: clients, accounts, transactions (reference, sections 5.1, 5.2 and 5.9)."""

from counterfoil.domain import records_ctrader

CLIENTS = """
type                   integer    0 individual, 1 corporate, 2 fund
status                 integer    0 unregistered … 9 active, 10 inactive, 11 suspended, 12 closed, 13 terminated
kyc_status             integer    0 accepted, 1 rejected, as the vendor's enum has it; there is no value for pending
manager_id             integer    responsible manager
preferred_group        integer    group id
approved_by            integer    user who approved the client
approval_date          date       day of approval; null: not approved yet, or not sent
close_date             date       day of closing; null: not closed, or not sent
last_contact_date      date       day of the last contact; null: never, or not sent
lead_source            text       where the client came from
lead_campaign          text       campaign that brought the client
introducer             text       person or partner who introduced the client
title                  text       Mr, Mrs, Dr …
first_name             text       first name
middle_name            text       middle name
family_name            text       family name
gender                 text       as the platform sends it; its values are not documented
birth_date             date       day of birth; null: unknown, or not sent
language               text       preferred language
preferred_method       integer    0 not specified, 1 email, 2 phone, 3 sms, 4 messenger
mobile                 text       mobile telephone number
local_number           text       local telephone number
email                  text       e-mail address
messengers             text       messenger accounts
social_networks        text       social media accounts
external_id            text       the CRM's key of this person: the registrant_id, verbatim
document_type          integer    0 passport, 1 driving licence, 2 national id
document_number        text       number of the document
issue_date             date       day the document was issued; null: unknown, or not sent
expiry_date            date       day the document expires; null: unknown, or not sent
comment                text       free text
country                text       country of residence, in the platform's own spelling
state                  text       state or province
city                   text       city
zip_code               text       postal code
address                text       street address
national               text       nationality
tax_id                 text       tax identification number
employment_status      integer    0 unemployed, 1 employed, 2 self-employed, 3 retired, 4 student, 5 other
employment_industry    integer    0 none … 16 other
education_level        integer    0 none … 4 PhD, 5 other
source_of_wealth       integer    0 employment or business, 1 savings or investments, 2 gifts or inheritance, 3 other
net_worth              number     estimated net worth, currency not documented
annual_income          number     yearly income, currency not documented
annual_deposit         number     expected deposits a year, currency not documented
forex_experience       integer    0 under one year, 1 one to three years, 2 over five years
stocks_experience      integer    0 under one year, 1 one to three years, 2 over five years
cfd_experience         integer    0 under one year, 1 one to three years, 2 over five years
futures_experience     integer    0 under one year, 1 one to three years, 2 over five years
user_id                integer    login identity of the client
accounts               json       the client's accounts when the platform expands them, passwords removed
created_at             timestamp  when the platform created the record
created_by             integer    user who created the record
updated_at             timestamp  when the platform last changed the record
updated_by             integer    user who last changed the record
"""

ACCOUNTS = """
user_id                   integer    login identity of the account
client_id                 integer    owner: clients.id
group_id                  integer    groups.id
username                  text       login name
first_name                text       first name of the holder
middle_name               text       middle name of the holder
family_name               text       family name of the holder
company                   text       company name
email                     text       e-mail address
phone                     text       telephone number
country                   text       country of residence, in the platform's own spelling
zip_code                  text       postal code
state                     text       state or province
city                      text       city
address                   text       street address
currency                  text       currency of every amount of this account
currency_digits           integer    digits after the decimal point of that currency
balance                   number     account currency; sum of all deals and balance operations
credit                    number     account currency; non-withdrawable bonus
equity                    number     account currency; balance + credit + floating profit
margin                    number     account currency; bound by open positions
margin_free               number     account currency; equity less margin
margin_level              number     per cent; equity to margin
margin_initial            number     account currency
margin_maintenance        number     account currency
margin_leverage           number     leverage used for the margin
profit                    number     account currency
floating                  number     account currency; profit of open positions
storage                   number     account currency; overnight charges
assets                    number     account currency
liabilities               number     account currency
blocked_commission        number     account currency
blocked_profit            number     account currency
day_profit                number     account currency
week_profit               number     account currency
month_profit              number     account currency
leverage                  integer    1:x; 0 means the group's
trade_type                integer    0 normal, 1 demo
liquidation_status=liqudation_status  integer  0 healthy, 1 margin call, 2 stop out
enable_risk_management    boolean    whether the limits below apply
max_day_loss              number     account currency
max_day_profit            number     account currency
max_week_loss             number     account currency
max_week_profit           number     account currency
max_month_loss            number     account currency
max_month_profit          number     account currency
user                      json       login identity when the platform expands it, passwords removed
orders                    json       orders when the platform expands them
positions                 json       positions when the platform expands them
deals                     json       deals when the platform expands them
created_at                timestamp  when the platform created the record
created_by                integer    user who created the record
updated_at                timestamp  when the platform last changed the record
updated_by                integer    user who last changed the record
"""

TRANSACTIONS = """
account_id     integer    the account whose money moved: accounts.id
side           integer    2 balance, 3 credit
direction      integer    0 in, 1 out
amount         number     account currency, signed: money in is positive
currency       text       currency of the amount; null: unknown, the account has not been mirrored yet
comment        text       free text as the platform keeps it
reference      text       our own reference, when the comment carries one; null: not an operation of ours
origin         text       platform, counterfoil (an operation of ours read back) or inferred; null: never
created_at     timestamp  when the platform booked it
updated_at     timestamp  when the platform last changed it
"""

TABLES: tuple[dict[str, str], ...] = (
    {
        "name": "clients",
        "comment": "People and companies that own accounts",
        "block": CLIENTS,
        "indexes": "external_id version",
    },
    {
        "name": "accounts",
        "comment": "Trading accounts with their balances as of the last poll",
        "block": ACCOUNTS,
        "ctrader": records_ctrader.ACCOUNTS,
        "indexes": "client_id version",
    },
    {
        "name": "transactions",
        "comment": "Money in and out of accounts, apart from trading",
        "block": TRANSACTIONS,
        "indexes": "account_id version",
    },
)
