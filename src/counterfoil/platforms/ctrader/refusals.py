"""What cTrader's refusals mean (reference, section 7).

An error comes as JSON `{"error": {"errorCode", "description"}}`, as plain text `CODE: text`, or as a gateway's HTML page. A
code decides; only where there is none does the HTTP status, and for a write a status without a code proves nothing.

Assumed, because nothing public gives the status of each code: business errors come with 4xx, and a code that nobody has
described is final unless the status is 5xx.
"""

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from counterfoil.domain.outcome import Verdict, classify
from counterfoil.platforms.http import Answer

# (what it means for a read, for a write)
_LATER: Final = (Verdict.RATE_LIMITED, Verdict.NOT_SENT)
_TROUBLE: Final = (Verdict.TRANSIENT, Verdict.UNKNOWN)
_NEVER: Final = (Verdict.PERMANENT, Verdict.REJECTED)
_RIGHTS: Final = (Verdict.CONFIGURATION_FAULT, Verdict.CONFIGURATION_FAULT)
_TOKEN: Final = (Verdict.LOG_IN, Verdict.LOG_IN)

RATE_LIMITED: Final = "REQUEST_FREQUENCY_EXCEEDED"
NO_TRADER: Final = "TRADER_NOT_FOUND"

MEANINGS: Final = {
    RATE_LIMITED: _LATER,
    "SERVER_IS_UNDER_MAINTENANCE": _LATER,
    "RECONCILIATION_IN_PROGRESS": _LATER,
    "UNKNOWN_ERROR": _TROUBLE,
    "TIMEOUT_ERROR": _TROUBLE,
    "DATASTORE_IS_NOT_AVAILABLE": _TROUBLE,
    "CONCURRENT_MODIFICATION": _TROUBLE,
    "NOT_ENOUGH_RIGHTS": _RIGHTS,
    "CH_INSUFFICIENT_PERMISSIONS": _RIGHTS,
    "CH_BROKER_NOT_FOUND": _RIGHTS,
    "CH_PLANT_INVALID": _RIGHTS,
    "CH_CLIENT_AUTH_FAILURE": _TOKEN,
    "CID_TOKEN_EXPIRED": _TOKEN,
    "CID_NON_EXISTED_TOKEN": _TOKEN,
    "INVALID_REQUEST": _NEVER,
    NO_TRADER: _NEVER,
    "NOT_ENOUGH_MONEY": _NEVER,
    "CHANGE_BALANCE_BAD_AMOUNT": _NEVER,
    "CHANGE_BONUS_BAD_AMOUNT": _NEVER,
    "TRADER_GROUP_NOT_FOUND": _NEVER,
    "WRONG_PASSWORD": _NEVER,
    "CH_TRADER_ACCOUNT_NOT_FOUND": _NEVER,
    "CH_CTID_TRADER_ACCOUNT_NOT_FOUND": _NEVER,
    "CH_EMAIL_ALREADY_EXISTS": _NEVER,
    "TRADER_HAS_POSITIONS": _NEVER,
    "ALREADY_DELETED": _NEVER,
    "WRONG_LEVERAGE": _NEVER,
    "UNKNOWN_DEPOSIT_CURRENCY": _NEVER,
    "DEPOSIT_CURRENCY_NOT_ALLOWED": _NEVER,
    "OPERATION_NOT_ALLOWED": _NEVER,
}
"""What each known code means for a read and for a write."""

_LONGEST_REASON: Final = 200
# Longest body, in bytes, that is looked into for a refusal.
_LONGEST_REFUSAL: Final = 16_384
_PAGE: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<")
_PLAIN: Final = re.compile(r"\s*([A-Z][A-Z0-9_]{2,79})(?::\s*(.*))?\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code and what it is said to mean, on one line of at most 200 characters."""

    code: str
    description: str


class _Error(msgspec.Struct):
    errorCode: str = ""  # noqa: N815 - the platform's spelling
    description: str | None = None


class _Refused(msgspec.Struct):
    error: _Error


_DECODER: Final = msgspec.json.Decoder(_Refused)


def read(body: bytes) -> Refusal | None:
    """The refusal that a body is; None when it is none that carries a code."""
    if not body or len(body) > _LONGEST_REFUSAL:
        return None
    try:
        error = _DECODER.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _PLAIN.match(body.decode(errors="replace"))
        return Refusal(found[1], _line(found[2] or "")) if found else None
    return Refusal(_line(error.errorCode), _line(error.description or "")) if error.errorCode else None


def judge(answer: Answer, refusal: Refusal | None, *, writing: bool) -> Verdict:
    """What an answer, or the lack of one, means; `refusal`: what its body says."""
    if answer.silence is not None:
        return classify(answer.silence, writing=writing)
    if refusal is None and answer.is_good:
        return Verdict.ACCEPTED if writing else Verdict.DONE
    if answer.status in (401, 403):
        return Verdict.LOG_IN
    if refusal is None:
        return _without_code(answer, writing=writing)
    # A good status and a word that nobody knows: it may as well be a word of success.
    if answer.status >= 500 or (answer.is_good and refusal.code not in MEANINGS):
        return _TROUBLE[writing]
    return MEANINGS.get(refusal.code, _NEVER)[writing]


def _without_code(answer: Answer, *, writing: bool) -> Verdict:
    """A proxy's page, during a deployment for instance, cannot speak for the platform, not even of what is not there."""
    verdict = classify(answer.status, writing=writing)
    if verdict is Verdict.PERMANENT and _PAGE.match(answer.body):
        return Verdict.TRANSIENT
    return Verdict.UNKNOWN if verdict in (Verdict.REJECTED, Verdict.CONFLICT) else verdict


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_REASON]).split())[
        :_LONGEST_REASON
    ]
