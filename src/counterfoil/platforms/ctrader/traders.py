"""What a profile and an account of the CRM are to a cTrader trader: names, contact details, the rest."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from counterfoil.domain.errors import TransientError
from counterfoil.domain.fields import CTRADER, FIELDS
from counterfoil.platforms.ctrader.columns import CONTACT_NAMES
from counterfoil.platforms.ctrader.tokens import Record, Texts, nested

CONTACT: Final = frozenset(CONTACT_NAMES.values())
# What a profile calls otherwise; the rest of it has no place on this platform.
_OF_PROFILE: Final = {"first_name": "name", "family_name": "lastName", "zip_code": "zipCode"}
_NAMES: Final = frozenset({"name", "lastName"})


def names_of(fields: Mapping[str, object]) -> dict[str, object]:
    """First and last name for a trader, from a profile or as the account's own fields say."""
    renamed = {_OF_PROFILE[name]: value for name, value in fields.items() if name in _OF_PROFILE}
    return {name: value for name, value in {**renamed, **fields}.items() if name in _NAMES}


def writable(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of a trader that stand beside its contact details; what only a profile has is left out."""
    ours = {field.name for field in FIELDS if (field.kind, field.entity) == (CTRADER, "account")}
    return {name: value for name, value in fields.items() if name in ours - CONTACT}


def contact_from(fields: Mapping[str, object]) -> dict[str, object]:
    """The contact details for a trader, from a profile or as the account's own fields say."""
    renamed = {_OF_PROFILE.get(name, name): value for name, value in fields.items()}
    return {name: value for name, value in {**renamed, **fields}.items() if name in CONTACT and value not in (None, "")}


def contact_of(record: Texts) -> dict[str, str | None]:
    """The contact details of a trader as texts; none where they cannot be read."""
    try:
        return nested(record, "contactDetails")
    except ValueError:
        return {}


def raw_contact_of(record: Texts) -> dict[str, Raw]:
    """The contact details of a trader as sent.

    Raises:
        TransientError: they cannot be read, so that nothing may be sent in their place.
    """
    try:
        return dict(msgspec.json.decode(record.get("contactDetails") or "{}", type=Record))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TransientError("the contact details of the account cannot be read") from error


def as_text(value: object) -> str | None:
    """A field of ours as a record shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    return None if value in (None, "") else str(value)
