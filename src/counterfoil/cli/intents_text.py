"""Requests in words: lines for the list, everything about one for who decides, and evidence that a person can read."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from counterfoil.domain.intent import MONEY, TERMINAL, Kind, State
from counterfoil.store.desk import Dossier, Intent

_FINDINGS: Final = {
    "found": "it is there",
    "absent": "it was not found, and the books add up without it",
    "unclear": "the look proves nothing",
    "wrong": "what is there is not what was asked for",
    "doubtful": "nothing that the platform tells can settle it",
}
_FIRST: Final = ("finding", "reason")
# What each part of the evidence says, in the order in which it is read; what is not listed comes last, by its name.
_PARTS: Final = {
    "answered_record": "the platform's answer named record {}",
    "recognised": "it was there before the attempt, as record {}",
    "record": "the platform named record {}, which belongs to another reference of ours",
    "clients_above": "clients were read above id {}",
    "accounts_above": "accounts were read above id {}",
    "read": "records read: {}",
    "found": "records that are ours: {}",
    "differing": "fields that are not as asked for: {}",
    "transactions_read": "transactions of the account read: {}",
    "deals_above": "deals were read above id {}",
    "in_history": "our reference stands in the account's transactions: {}",
    "in_deals": "our reference stands in the deals: {}",
    "balance": "the account's balance was {}",
    "sum_of_deals": "the sum of its deals was {}",
    "noted_at": "the account was read before the attempt, at {}",
    "before": "it held {} before",
    "read_at": "it was read again at {}",
    "after": "it holds {} now",
    "moved": "it moved by {} in between",
    "deals": "its closing deals in between, by id: {}",
    "moved_by_deals": "its closing deals in between make {}",
    "asked_for": "the operation would make {}",
    "not_explained_by_deals": "the deals leave {} unexplained",
    "account": "account {} on the platform",
    "user": "it was to be tied to client {}",
    "code": "the platform's word for it is {}",
    "noted": "noted before the attempt: {}",
}
_FENCE: Final = {
    "deal": "the mirror's highest deal was {}",
    "above": "the highest record was {}",
    "since": "new accounts are looked for from {} on",
    "at": "the account was read at {}",
    "balance": "its balance was {}",
    "credit": "its credit was {}",
    "digits": "digits of its currency: {}",
    "positions": "its open positions, by id: {}",
    "deals": "its newest closing deals, by id: {}",
}


def table(intents: list[Intent]) -> Iterator[str]:
    """A line each, oldest first, in columns."""
    if not intents:
        yield "nothing"
        return
    rows = [
        (
            str(intent.state),
            moment(intent.changed_at),
            _words(intent.kind),
            intent.reference,
            intent.platform or "(no platform yet)",
            amount(intent),
            printable(_standing(intent)),
        )
        for intent in intents
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def _standing(intent: Intent) -> str:
    return intent.reason or (f"behind {intent.behind}" if intent.behind else "")


def dossier(found: Dossier) -> Iterator[str]:
    """Everything about a reference."""
    for intent in found.intents:
        yield from _intent(intent)
        yield ""
    yield "what the CRM was told"
    for event in found.events:
        yield f"  {moment(event['at'])}  {event['event']}" + ("" if event["id"] is not None else " (not numbered yet)")
    if found.decisions:
        yield ""
        yield "what people decided"
        for made in found.decisions:
            yield f"  {moment(made['at'])}  {made['decision']} by {made['person']}: {printable(made['reason'])}"


def _intent(intent: Intent) -> Iterator[str]:
    yield f"{_words(intent.kind)} {intent.reference}: {intent.state}"
    facts = {
        "why": printable(_standing(intent)),
        "for": f"registrant {intent.registrant_id}" + (f", client {intent.client_id}" if intent.client_id else ""),
        "platform": intent.platform or "not chosen yet",
        "account": _account(intent),
        "amount": amount(intent),
        "changes": ", ".join(intent.changes),
        "payout": intent.payout or "",
        "asked for": moment(intent.created_at),
        "since": f"{moment(intent.changed_at)} (before: {intent.previous_state})",
        "attempts": _attempts(intent),
        "our reference": _reference(intent),
        "record": str(intent.record_id or ""),
    }
    for name, value in facts.items():
        if value:
            yield f"  {name:<14} {value}"
    yield from _list("before the attempt", explained(intent.fence, _FENCE))
    looked = "" if intent.looked_at is None else f", looked for {moment(intent.looked_at)}"
    yield from _list(f"evidence{looked}", explained(intent.evidence, _PARTS))
    if intent.state not in TERMINAL:
        yield from _list("what you may decide", choices(intent))


def _list(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"  {title}"
        yield from (f"    - {line}" for line in lines)


def _account(intent: Intent) -> str:
    if intent.account_reference is None:
        return ""
    return f"{intent.account_reference}, {intent.account_id or 'not known yet'} on the platform"


def _attempts(intent: Intent) -> str:
    if not intent.attempts:
        return "0"
    left = "" if intent.launched or intent.state in TERMINAL else "; surely nothing left with the newest"
    return f"{intent.attempts}, the newest {moment(intent.sent_at)}{left}"


def _reference(intent: Intent) -> str:
    if intent.idempotency_reference is None:
        return ""
    booked = [f"transaction {row['id']}, {row['amount']} on account {row['account_id']}" for row in intent.mirrored]
    newest = f"not in the mirror, the mirror's newest reading is of {moment(intent.transactions_as_of)}"
    unseen = newest if intent.shows_references else "sent with it, but the platform shows no references"
    return f"{intent.idempotency_reference}; {'; '.join(booked) or unseen}"


def explained(facts: Mapping[str, Any] | None, parts: Mapping[str, str]) -> list[str]:
    """What was found, a line each."""
    lines = []
    places = {name: place for place, name in enumerate((*_FIRST, *parts))}
    for name, value in sorted((facts or {}).items(), key=lambda part: places.get(part[0], len(places))):
        if value is None or value in ([], {}):
            continue
        shown = _plain(value)
        if name == "finding":
            lines.append(f"{_FINDINGS.get(shown, shown)} ({shown})")
        elif name == "reason":
            lines.append(printable(shown))
        else:
            lines.append(printable(parts.get(name, f"{name}: {{}}").format(shown)))
    return lines


def _plain(value: object) -> str:
    """A value of the evidence in words: lists and what is nested in it too."""
    match value:
        case Mapping():
            return "; ".join(
                f"{_words(str(name))} {_plain(inner)}" for name, inner in value.items() if inner is not None
            )
        case list():
            return ", ".join(map(_plain, value))
        case _:
            return str(value)


_CONFIRM: Final = {
    Kind.WITHDRAW: "confirm: the platform booked it; its payout may then be released, money leaves for the bank",
    Kind.REFUND: "confirm: the money is back on the account; its payout is refunded",
    Kind.CLIENT: "confirm --record ID: client ID of the platform is this registrant; what waits behind goes on",
    Kind.ACCOUNT: "confirm --record ID: account ID of the platform is this one; what waits behind goes on",
    Kind.ADOPT: "confirm --record ID: account ID of the platform is this one; what waits behind goes on",
    Kind.LINK: "confirm: the account is tied to this registrant's client; what waits behind goes on",
}
_CANCEL: Final = {
    Kind.WITHDRAW: "cancel: given up, its payout is declined; what the platform has booked must be reversed there by hand",
    Kind.DEPOSIT: "cancel: given up; what the platform has booked must be reversed there by hand",
    Kind.REFUND: "cancel: refused, the trader's money would be gone; give it back by hand and confirm with --record",
    Kind.CLIENT: "cancel: given up, with everything that waits behind it",
    Kind.ACCOUNT: "cancel: given up, with everything that waits behind it",
    Kind.ADOPT: "cancel: given up, with everything that waits behind it",
    Kind.LINK: "cancel: given up, with everything that waits behind it; the account stays, tied to nobody",
}


def choices(intent: Intent) -> list[str]:
    """What each decision would do to a request as it stands."""
    if intent.state in (State.WAITING, State.PENDING):
        return ["it goes on by itself", _CANCEL.get(intent.kind, "cancel: given up")]
    if intent.state is not State.PARKED:
        return ["nothing now: the daemon finds out what became of it"]
    return [
        _CONFIRM.get(intent.kind, "confirm: the platform did it; the CRM is told so"),
        _retrying(intent),
        _CANCEL.get(intent.kind, "cancel: given up"),
    ]


def _retrying(intent: Intent) -> str:
    finding = (intent.evidence or {}).get("finding")
    if intent.kind in (Kind.CLIENT, Kind.ACCOUNT, Kind.ADOPT):
        return "retry: looked for once more, and sent again when it is not there"
    if intent.kind not in MONEY:
        return "retry: sent again"
    if intent.mirrored or (intent.evidence is not None and finding not in ("absent", "unclear", "doubtful")):
        return "retry: refused, it was executed and would be executed twice"
    if intent.evidence is None and intent.previous_state == State.SENT:
        return "retry: sent again; nothing left before"
    look = "looked for once more, then " if finding == "absent" else ""
    return f"retry --even-though-unproven: {look}sent again; if the first attempt comes to light, the money has moved twice"


def amount(intent: Intent) -> str:
    """Amount and currency; empty for what moves no money."""
    return "" if intent.amount is None else f"{intent.amount:f} {intent.currency or '(currency not known yet)'}"


def moment(at: datetime | None) -> str:
    """A time for people, UTC."""
    return "never" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def printable(text: str) -> str:
    """One line that cannot steer a terminal: some of it was written by a platform."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def _words(kind: str) -> str:
    return kind.replace("_", " ")
