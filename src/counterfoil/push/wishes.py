"""An intent of the database as a wish to a platform: what the CRM asked for, completed by profile and defaults."""

from collections.abc import Mapping

from counterfoil.domain.intent import Kind
from counterfoil.domain.references import idempotency_reference
from counterfoil.platforms.writing import Wish
from counterfoil.store.intents import Held

# Fields of an account that a profile has under the same name, and one under another.
_FROM_PROFILE = (
    *("first_name", "middle_name", "family_name", "email", "country", "zip_code", "state", "city", "address"),
)
_PHONE = ("phone", "mobile")


def wish(held: Held, passwords: Mapping[str, str]) -> Wish:
    """The wish; `passwords` unsealed."""
    account_id = held.wish.get("account_id") if held.kind is Kind.ADOPT else held.account_id
    return Wish(
        kind=held.kind,
        external_id=held.registrant_id,
        fields=_fields(held),
        client_id=held.client_id,
        account_id=account_id,
        username=held.username,
        passwords=passwords,
        amount=held.amount,
        digits=held.digits,
        reference=_reference(held),
        again=held.probe_first,
    )


def _reference(held: Held) -> str | None:
    """An account can be recognised by ours too, where the platform keeps it."""
    return idempotency_reference(held.reference) if held.kind is Kind.ACCOUNT else held.idempotency_reference


def _fields(held: Held) -> Mapping[str, object]:
    match held.kind:
        case Kind.CLIENT:
            return held.profile
        case Kind.ACCOUNT:
            return {**_of_profile(held.profile), **held.account_defaults, **held.account_wish}
        case Kind.UPDATE_CLIENT | Kind.UPDATE_ACCOUNT:
            return held.wish
        case Kind.ADOPT:
            return {name: held.profile[name] for name in ("email",) if name in held.profile}
        case _:
            return {}


def _of_profile(profile: Mapping[str, object]) -> dict[str, object]:
    fields = {name: profile[name] for name in _FROM_PROFILE if name in profile}
    ours, theirs = _PHONE
    return fields | ({ours: profile[theirs]} if theirs in profile else {})
