import hashlib

from hypothesis import given
from hypothesis import strategies as st

from counterfoil.domain.references import idempotency_reference, recognise

NAMES = st.text(min_size=1, max_size=200).filter(lambda name: name.isprintable())


def test_a_reference_begins_so_that_a_person_recognises_it_and_goes_on_with_a_hash():
    assert idempotency_reference("w-1") == "cf-" + hashlib.sha256(b"w-1").hexdigest()[:28]
    assert idempotency_reference("é") == "cf-" + hashlib.sha256("é".encode()).hexdigest()[:28]


@given(NAMES)
def test_a_reference_is_31_ascii_characters_and_is_recognised_again(name):
    reference = idempotency_reference(name)
    assert len(reference) == 31
    assert reference.isascii()
    assert recognise(reference) == recognise(f"paid, {reference}; thanks") == reference


@given(st.lists(NAMES, unique=True, min_size=2, max_size=50))
def test_different_names_have_different_references(names):
    assert len({idempotency_reference(name) for name in names}) == len(names)
