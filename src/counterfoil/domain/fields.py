"""What the CRM may write into a client and an account, for each kind of platform.

The boundary's functions check every profile against this before anything is planned: it is published into the database by
`run` and `migrate`. Sources: reference of OMTrader, sections 5.1, 5.2 and 6; of cTrader, sections 4.1, 4.5.2 and 5.1.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

FieldType = Literal["text", "integer", "number", "boolean", "date"]
Entity = Literal["client", "account"]


@dataclass(frozen=True, slots=True)
class WritableField:
    """One field: its type, its range or choices, whether a new entity needs it, whether it may be changed later."""

    kind: str
    entity: Entity
    name: str
    type: FieldType
    lowest: Decimal | None = None
    highest: Decimal | None = None
    required: bool = False
    updatable: bool = True
    choices: tuple[str, ...] | None = None


# name, type, and where they apply: lowest..highest, A|B|C (the only texts), `required`, `fixed` (not changed by an update).
_CLIENT = """
type                 integer  0..2
status               integer  0..13
kyc_status           integer  0..1     fixed
manager_id           integer  1..      fixed
preferred_group      integer  1..
last_contact_date    date
lead_source          text
lead_campaign        text
introducer           text
title                text
first_name           text     required
middle_name          text
family_name          text     required
gender               text
birth_date           date
language             text
preferred_method     integer  0..4
mobile               text
local_number         text
email                text
messengers           text
social_networks      text
document_type        integer  0..2
document_number      text
issue_date           date
expiry_date          date
comment              text
country              text
state                text
city                 text
zip_code             text
address              text
national             text
tax_id               text
employment_status    integer  0..5
employment_industry  integer  0..16
education_level      integer  0..5
source_of_wealth     integer  0..3
net_worth            number
annual_income        number
annual_deposit       number
forex_experience     integer  0..2
stocks_experience    integer  0..2
cfd_experience       integer  0..2
futures_experience   integer  0..2
"""

_ACCOUNT = """
group_id             integer  1..
username             text     fixed
leverage             integer  0..5000
first_name           text
middle_name          text
family_name          text
company              text
email                text
phone                text
country              text
zip_code             text
state                text
city                 text
address              text
"""

# What contactDetails holds lies flat beside the rest. `description` is ours: an account is recognised by it.
_CTRADER_ACCOUNT = """
groupName                             text
depositCurrency                       text     fixed
leverageInCents                       integer  1..
maxLeverage                           integer  1..
accessRights                          text     FULL_ACCESS|CLOSE_ONLY|NO_TRADING|NO_LOGIN
accountType                           text     HEDGED|NETTED|SPREAD_BETTING  fixed
totalMarginCalculationType            text     MAX|SUM|NET  fixed
name                                  text
lastName                              text
swapFree                              boolean
isLimitedRisk                         boolean
limitedRiskMarginCalculationStrategy  text     ACCORDING_TO_LEVERAGE|ACCORDING_TO_GSL|ACCORDING_TO_GSL_AND_LEVERAGE  fixed
sendOwnStatement                      boolean
sendStatementToBroker                 boolean
address                               text
city                                  text
state                                 text
zipCode                               text
phone                                 text
email                                 text
documentId                            text
countryId                             integer  1..999
introducingBroker1                    text
introducingBroker2                    text
"""


def _field(kind: str, entity: Entity, line: str) -> WritableField:
    name, type_, *marks = line.split()
    span = next((mark for mark in marks if ".." in mark), "..")
    choices = next((tuple(mark.split("|")) for mark in marks if "|" in mark), None)
    lowest, _, highest = span.partition("..")
    return WritableField(
        kind,
        entity,
        name,
        type_,  # type: ignore[arg-type]  # the blocks above hold the four words; the database checks them again
        Decimal(lowest) if lowest else None,
        Decimal(highest) if highest else None,
        required="required" in marks,
        updatable="fixed" not in marks,
        choices=choices,
    )


def _fields(kind: str, entity: Entity, block: str) -> tuple[WritableField, ...]:
    return tuple(_field(kind, entity, line) for line in block.strip().splitlines())


OMTRADER: Final = "omtrader"
CTRADER: Final = "ctrader"

_OMTRADER_CLIENT = _fields(OMTRADER, "client", _CLIENT)

FIELDS: Final[tuple[WritableField, ...]] = (
    *_OMTRADER_CLIENT,
    *_fields(OMTRADER, "account", _ACCOUNT),
    # A profile is written before a platform is chosen, so the words are the same; a cTrader user is an e-mail address that
    # no call can change.
    *(replace(f, kind=CTRADER, required=f.name == "email", updatable=False) for f in _OMTRADER_CLIENT),
    *_fields(CTRADER, "account", _CTRADER_ACCOUNT),
)
