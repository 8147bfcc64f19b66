from decimal import Decimal

import pytest

from counterfoil.domain import fields
from counterfoil.domain.fields import CTRADER, FIELDS, OMTRADER, WritableField

KNOWN = {(field.entity, field.name): field for field in FIELDS if field.kind == OMTRADER}
OF_CTRADER = {(field.entity, field.name): field for field in FIELDS if field.kind == CTRADER}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("type integer 0..2", WritableField("k", "client", "type", "integer", Decimal(0), Decimal(2))),
        ("group_id integer 1..", WritableField("k", "client", "group_id", "integer", Decimal(1), None)),
        ("worth number ..9", WritableField("k", "client", "worth", "number", None, Decimal(9))),
        ("born date", WritableField("k", "client", "born", "date")),
        ("name text required", WritableField("k", "client", "name", "text", required=True)),
        ("rights text ALL|NONE fixed", WritableField(
            "k", "client", "rights", "text", updatable=False, choices=("ALL", "NONE"))),
        ("login text fixed", WritableField("k", "client", "login", "text", updatable=False)),
        ("a integer 0..1 fixed required", WritableField(
            "k", "client", "a", "integer", Decimal(0), Decimal(1), required=True, updatable=False)),
    ],
)  # fmt: skip
def test_a_line_says_name_type_range_and_marks(line, field):
    assert fields._field("k", "client", line) == field


def test_a_block_has_a_line_for_each_field():
    made = fields._fields("k", "account", "\na text\nb date\n")
    assert [(field.kind, field.entity, field.name, field.type) for field in made] == [
        ("k", "account", "a", "text"),
        ("k", "account", "b", "date"),
    ]


def test_a_client_needs_its_names_and_an_account_nothing_that_has_no_default():
    assert {key for key, field in KNOWN.items() if field.required} == {
        ("client", "first_name"),
        ("client", "family_name"),
    }


def test_what_decides_over_a_person_is_never_changed_by_an_update():
    fixed = {key for key, field in KNOWN.items() if not field.updatable}
    assert fixed == {("client", "kyc_status"), ("client", "manager_id"), ("account", "username")}


def test_a_ctrader_user_is_an_email_address_that_no_update_changes_and_an_account_needs_nothing_that_has_no_default():
    assert {key for key, field in OF_CTRADER.items() if field.required} == {("client", "email")}
    assert {field.updatable for (entity, _), field in OF_CTRADER.items() if entity == "client"} == {False}
    fixed = {name for (entity, name), field in OF_CTRADER.items() if entity == "account" and not field.updatable}
    assert fixed == {
        *("depositCurrency", "accountType", "totalMarginCalculationType", "limitedRiskMarginCalculationStrategy")
    }


def test_a_profile_means_the_same_on_every_platform():
    def words(known):
        return {
            (name, field.type, field.lowest, field.highest)
            for (entity, name), field in known.items()
            if entity == "client"
        }

    assert words(KNOWN) == words(OF_CTRADER)


def test_what_cannot_be_updated_cannot_be_made_by_the_crm_either():
    assert OF_CTRADER["account", "accessRights"].choices == ("FULL_ACCESS", "CLOSE_ONLY", "NO_TRADING", "NO_LOGIN")
    assert ("account", "description") not in OF_CTRADER, "it carries our marker"


@pytest.mark.parametrize("known", [KNOWN, OF_CTRADER])
def test_balances_ids_and_passwords_are_not_writable_fields(known):
    never = {"id", "balance", "credit", "client_id", "external_id", "user_password", "investor_password", "approved_by"}
    never |= {"login", "hashedPassword", "brokerName", "moneyDigits", "bonus", "nonWithdrawableBonus"}
    assert never.isdisjoint(name for _, name in known)
    assert {field.kind for field in FIELDS} == {OMTRADER, CTRADER}
    assert len(known) > 50
