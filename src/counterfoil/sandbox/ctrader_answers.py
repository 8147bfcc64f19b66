"""Answers of the simulated cTrader server: JSON, nothing at all, and errors in the three forms that were seen."""

from typing import Any, Final

import msgspec

from counterfoil.sandbox import faults as f
from counterfoil.sandbox import listing
from counterfoil.sandbox.calls import Reply
from counterfoil.sandbox.ctrader_faults import BusinessError, PlainError
from counterfoil.sandbox.text import ENCODER

INVALID: Final = "INVALID_REQUEST"
RIGHTS: Final = "NOT_ENOUGH_RIGHTS"
TRADER: Final = "TRADER_NOT_FOUND"
TOO_OFTEN: Final = "REQUEST_FREQUENCY_EXCEEDED"
PLAIN: Final = "text/plain"

SECRETS: Final = ("hashedPassword", "traderPasswordHash", "password")
"""What the fault `password_leak` adds to every row."""

_CODES: Final = {400: INVALID, 401: RIGHTS, 403: RIGHTS, 404: TRADER, 429: TOO_OFTEN}
_SIMULATED: Final = "simulated fault"


class WebservError(Exception):
    """The server refuses, and nothing has happened."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


def error(code: str, text: str, status: int = 400) -> Reply:
    """The error object (reference, section 7)."""
    return Reply(status, ENCODER.encode({"error": {"errorCode": code, "description": text}}))


def entity(fields: dict[str, Any], struck: f.Struck) -> Reply:
    """One object, as the faults of rows leave it."""
    return Reply(200, listing.mangle([ENCODER.encode(fields)], struck, SECRETS)[0])


def empty(status: int = 204) -> Reply:
    """No body at all."""
    return Reply(status, b"")


def in_form(reply: Reply, struck: f.Struck) -> Reply:
    """An error as plain text when the fault `plain_error` wants it so."""
    if reply.status < 400 or reply.content_type == PLAIN or not struck.has(PlainError):
        return reply
    told = msgspec.json.decode(reply.body)["error"]
    text = f"{told['errorCode']}: {told['description']}".encode()
    return msgspec.structs.replace(reply, body=text, content_type=PLAIN)


def refusal(struck: f.Struck) -> Reply | None:
    """The error that a fault answers before anything has happened."""
    if limited := struck.get(f.RateLimited):
        return msgspec.structs.replace(_of_status(429), retry_after=limited.retry_after)
    if struck.has(f.Forbid):
        return _of_status(403)
    if before := struck.get(f.ErrorBefore):
        return _of_status(before.status)
    told = struck.get(BusinessError)
    return error(told.code, _SIMULATED, told.status) if told is not None and not told.after else None


def distorted(reply: Reply, struck: f.Struck) -> Reply:
    """An answer after its effect, as the faults leave it."""
    if after := struck.get(f.ErrorAfter):
        return _of_status(after.status)
    if told := struck.get(BusinessError):
        return error(told.code, _SIMULATED, told.status)
    if (shape := struck.get(f.WrongShape)) is not None:
        return Reply(reply.status, shape.value.encode())
    return reply


def _of_status(status: int) -> Reply:
    return error(_CODES.get(status, "UNKNOWN_ERROR"), _SIMULATED, status)
