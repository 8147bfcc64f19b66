"""Balance operations on OMTrader's wire: what is asked, whose a row is, and what an answer proves."""

from decimal import Decimal

import msgspec
import pytest

from counterfoil.domain.attempt import Accepted, Mismatch, Unknown
from counterfoil.domain.intent import MONEY, Kind
from counterfoil.domain.references import idempotency_reference
from counterfoil.platforms.omtrader.transfers import MoneyForm, Movement, expected, integer, number
from counterfoil.platforms.writing import Wish

OURS = idempotency_reference("m")
OTHER = idempotency_reference("other")
FORM = MoneyForm()


def wish(kind=Kind.DEPOSIT, amount: str | None = "7.25", **more):
    given = {"external_id": "r", "account_id": 70, "reference": OURS, **more}
    return Wish(kind=kind, amount=None if amount is None else Decimal(amount), **given)


def row(**more):
    return {"id": 5, "account_id": 70, "profit": Decimal("7.25"), "comment": OURS, **more}


# --- what is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "side", "direction"),
    [
        (Kind.DEPOSIT, 2, 0),
        (Kind.REFUND, 2, 0),
        (Kind.WITHDRAW, 2, 1),
        (Kind.CREDIT_IN, 3, 0),
        (Kind.CREDIT_OUT, 3, 1),
    ],
)
def test_each_kind_is_asked_for_with_its_side_and_direction(kind, side, direction):
    assert FORM.body(wish(kind)) == (
        f'{{"amount":7.25,"side":{side},"direction":{direction},"comment":"{OURS}"}}'.encode()
    )


def test_fields_and_values_are_those_of_the_settings():
    form = MoneyForm(
        movements={"deposit": Movement(8, 9), "withdraw": Movement(6, 7)}, amount_field="sum", reference_field="memo"
    )
    assert msgspec.json.decode(form.body(wish(Kind.REFUND))) == {"sum": 7.25, "side": 8, "direction": 9, "memo": OURS}
    assert msgspec.json.decode(form.body(wish(Kind.WITHDRAW)))["direction"] == 7


@pytest.mark.parametrize("amount", ["0.01", "1E+2", "999999999999999.99", "0.00000001", "7.10"])
def test_an_amount_is_written_to_the_digit(amount):
    told = bytes(msgspec.json.decode(FORM.body(wish(amount=amount)), type=dict[str, msgspec.Raw])["amount"])
    assert Decimal(told.decode()) == Decimal(amount)
    assert b"E" not in told.upper()


def test_a_wish_without_an_amount_moves_no_money():
    with pytest.raises(ValueError, match="moves no money"):
        FORM.body(wish(amount=None))


@pytest.mark.parametrize("kind", sorted(MONEY))
def test_money_in_is_expected_positive_and_money_out_negative(kind):
    outward = kind in (Kind.WITHDRAW, Kind.CREDIT_OUT)
    assert expected(wish(kind)) == Decimal("-7.25" if outward else "7.25")


# --- whose a row is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "comment",
    [OURS, f"deposit {OURS}", f"{OURS} thanks", f"[{OURS}]", f"Deposit:{OURS};", f"{OURS}x", f"{OTHER} {OURS}"],
)
def test_a_row_that_shows_our_reference_whole_is_ours(comment):
    assert FORM.carries(row(comment=comment), wish()) is True


@pytest.mark.parametrize("comment", ["", "cf-", OURS[:-1], OURS[1:], OURS.upper(), OTHER, None, 5, [OURS]])
def test_a_row_that_does_not_show_it_whole_is_not_known_to_be_ours(comment):
    assert FORM.carries(row(comment=comment), wish()) is False


def test_a_row_without_the_field_or_a_wish_without_a_reference_shows_nothing():
    assert FORM.carries({"id": 1}, wish()) is False
    assert FORM.carries(row(), wish(reference=None)) is False
    assert MoneyForm(reference_field="memo").carries(row(), wish()) is False
    assert MoneyForm(reference_field="memo").carries(row(memo=OURS), wish()) is True


@pytest.mark.parametrize("comment", [OTHER, f"deposit {OTHER}.", f"{OURS} {OTHER}"])
def test_a_row_that_shows_another_reference_of_ours_whole_is_explained(comment):
    assert FORM.carries_another(row(comment=comment), wish()) is True


@pytest.mark.parametrize(
    "comment", ["", OURS, OURS[:-1], OTHER[:-1], OTHER + "0", "x" + OTHER, OTHER.upper(), "cf-cash", None, 5]
)
def test_a_row_that_shows_less_may_be_the_one_that_is_looked_for(comment):
    assert FORM.carries_another(row(comment=comment), wish()) is False


# --- its amount ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "signed"),
    [
        ({"profit": Decimal("7.25")}, "7.25"),
        ({"profit": Decimal("-7.25")}, "-7.25"),
        ({"profit": 7}, "7"),
        ({"profit": Decimal("-7.25"), "amount": Decimal("7.25"), "direction": 0}, "-7.25"),
        ({"profit": 0, "amount": Decimal("7.25"), "direction": 0}, "7.25"),
        ({"profit": 0, "amount": Decimal("7.25"), "direction": 1}, "-7.25"),
        ({"amount": Decimal("7.25"), "direction": 1}, "-7.25"),
        ({"amount": Decimal("-7.25"), "direction": 1}, "-7.25"),
        ({"amount": Decimal("-7.25"), "direction": 0}, "-7.25"),
        ({"amount": Decimal("7.25"), "direction": 0, "side": 3}, "7.25"),
        ({"amount": Decimal("-7.25")}, "-7.25"),
        ({"profit": 0}, "0"),
    ],
)
def test_the_amount_of_a_row_is_its_signed_profit_or_its_amount_by_direction(fields, signed):
    assert FORM.signed(fields) == Decimal(signed)


@pytest.mark.parametrize(
    "fields",
    [
        *({}, {"profit": None}, {"profit": "7.25"}, {"amount": "7.25"}, {"profit": True}),
        {"profit": "7.25", "amount": Decimal(3), "direction": 0},
        {"profit": Decimal("1e999999999")},
        {"profit": Decimal("NaN"), "amount": Decimal("Infinity"), "direction": 0},
    ],
)
def test_an_amount_that_cannot_be_told_is_none(fields):
    assert FORM.signed(fields) is None


@pytest.mark.parametrize(
    "more", [{}, {"direction": None}, {"direction": "1"}, {"direction": 7}, {"direction": 0, "side": 9}]
)
def test_an_unsigned_amount_without_a_known_direction_has_no_sign(more):
    assert FORM.signed({"amount": Decimal("7.25"), **more}) is None


def test_a_direction_that_means_in_for_one_side_and_out_for_the_other_has_no_sign_without_the_side():
    form = MoneyForm(
        movements={
            "deposit": Movement(2, 0),
            "withdraw": Movement(2, 1),
            "credit_in": Movement(3, 1),
            "credit_out": Movement(3, 0),
        }
    )
    assert form.signed({"amount": 5, "direction": 1}) is None
    assert [form.signed({"amount": 5, "direction": 1, "side": side}) for side in (2, 3)] == [-5, 5]


def test_outward_directions_are_those_of_the_settings():
    form = MoneyForm(
        movements={
            "deposit": Movement(2, 4),
            "withdraw": Movement(2, 5),
            "credit_in": Movement(3, 4),
            "credit_out": Movement(3, 6),
        },
        amount_field="sum",
    )
    assert [form.signed({"sum": 1, "direction": direction}) for direction in (4, 5, 6, 1)] == [1, -1, -1, None]


# --- what an answer proves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"comment": None},
        {"comment": OURS[:20]},
        {"amount": Decimal("7.25")},
        {"amount": Decimal("-7.25")},
        {"profit": Decimal("7.2500")},
    ],
)
def test_only_id_account_sign_and_amount_make_an_acceptance(more):
    assert FORM.judge(wish(), row(**more)) == Accepted(5)


def test_a_withdrawal_is_accepted_with_a_negative_amount():
    assert FORM.judge(wish(Kind.WITHDRAW), row(profit=Decimal("-7.25"), amount=Decimal("7.25"))) == Accepted(5)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"id": None}, "the answer names no record"),
        ({"id": 0}, "the answer names no record"),
        ({"id": -5}, "the answer names no record"),
        ({"id": "5"}, "the answer names no record"),
        ({"id": True}, "the answer names no record"),
        ({"id": 2**63}, "the answer names no record"),
        ({"account_id": 2**63}, "the answer speaks of account None, not of 70"),
        ({"profit": Decimal("1e999999999")}, "the answer tells no amount"),
        ({"profit": None, "amount": Decimal("7.25")}, "the answer tells no amount"),
        ({"account_id": 71}, "the answer speaks of account 71, not of 70"),
        ({"account_id": None}, "the answer speaks of account None, not of 70"),
        ({"account_id": "70"}, "the answer speaks of account None, not of 70"),
        ({"profit": None}, "the answer tells no amount"),
        ({"profit": "7.25"}, "the answer tells no amount"),
        ({"comment": OTHER}, "the answer speaks of another reference of ours"),
    ],
)
def test_an_answer_that_leaves_something_open_proves_nothing(more, reason):
    assert FORM.judge(wish(), row(**more)) == Unknown(reason)


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        (Kind.DEPOSIT, {"profit": Decimal("7.26")}, "asked for 7.25, the answer says 7.26"),
        (Kind.DEPOSIT, {"profit": Decimal("-7.25")}, "asked for 7.25, the answer says -7.25"),
        (Kind.WITHDRAW, {}, "asked for -7.25, the answer says 7.25"),
        (Kind.DEPOSIT, {"amount": Decimal("7.26")}, "asked for 7.25, the answer says 7.25"),
        (Kind.DEPOSIT, {"profit": 0}, "asked for 7.25, the answer says 0"),
    ],
)
def test_another_amount_is_a_mismatch_that_names_the_record(kind, more, reason):
    assert FORM.judge(wish(kind), row(**more)) == Mismatch(reason, 5)


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "exact"), [(5, "5"), (0, "0"), (-5, "-5"), (Decimal("0.10"), "0.10")])
def test_a_number_is_read_exactly(value, exact):
    assert number(value) == Decimal(exact)


@pytest.mark.parametrize("value", [True, False, None, "5", "", [], {}, 0.5])
def test_what_is_no_number_is_none(value):
    assert number(value) is None


@pytest.mark.parametrize(
    "value", ["NaN", "sNaN", "Infinity", "-Infinity", "1e999999999", "-1e40", "1e-40", "1e-999999999"]
)
def test_a_number_that_no_books_hold_is_none(value):
    assert number(Decimal(value)) is None


@pytest.mark.parametrize("value", ["1e39", "-9.99e39", "1e-39", "0"])
def test_a_number_of_at_most_forty_digits_is_read(value):
    assert number(Decimal(value)) == Decimal(value)


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        *((1, 1), (2**62, 2**62), (2**63 - 1, 2**63 - 1), (2**63, None), (9_300_000_000_000_000_000, None)),
        *((0, None), (-1, None), (True, None), ("1", None), (Decimal(1), None), (None, None)),
    ],
)
def test_an_id_is_a_positive_whole_number_that_the_database_can_hold(value, whole):
    assert integer(value) == whole
