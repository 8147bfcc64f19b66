"""Writes docs/states.md from the transitions of the domain: `python docs/generate_states.py`."""  # noqa: INP001 - a script

from pathlib import Path

from counterfoil.domain.intent import NEW, TRANSITIONS, State
from counterfoil.domain.payout import PAYOUT_TRANSITIONS, PayoutState

PAGE = Path(__file__).with_name("states.md")

WHY = {
    (NEW, "waiting"): "an earlier step is not confirmed, or no platform is chosen",
    (NEW, "pending"): "everything before it is confirmed",
    ("waiting", "pending"): "the step before it was confirmed, or the platform chosen",
    ("waiting", "cancelled"): "by the CRM, or because the step before it was rejected or cancelled",
    ("pending", "cancelled"): "by the CRM, before it was sent",
    ("pending", "sent"): "a worker claimed it; committed before the first byte leaves",
    (
        "sent",
        "confirmed",
    ): "the platform's answer names the record, with the same account, sign and amount where it tells them",
    ("sent", "rejected"): "the platform refused it",
    (
        "sent",
        "pending",
    ): "surely not sent: no connection, a refused login, 429, the hour's writes used up, or the worker ended before it sent",
    (
        "sent",
        "parked",
    ): "something else than asked was answered, nobody can tell what a refusal means (a link), or trying on is no use",
    (
        "sent",
        "unknown",
    ): "whatever is not proven otherwise: timeout, lost connection, 5xx, unreadable answer, lapsed lease",
    ("unknown", "confirmed"): "found on the platform; cTrader, but for withdrawals: the account's books prove it",
    (
        "unknown",
        "pending",
    ): "proven absent: complete listings, settle time over, looks agree, balance explained; or doing it again is harmless",
    ("unknown", "parked"): "neither found nor proven absent, or done twice",
    ("parked", "confirmed"): "a person's decision",
    ("parked", "pending"): "a person's decision",
    ("parked", "cancelled"): "a person's decision",
    (NEW, "blocked"): "with the withdrawal",
    ("blocked", "releasable"): "the platform confirmed the withdrawal",
    ("blocked", "declined"): "the withdrawal was rejected or cancelled",
    ("releasable", "released"): "somebody was told, once, to pay",
    ("releasable", "refunding"): "it will not be paid: `crm.fail_payout`",
    ("released", "settled"): "the bank paid",
    ("released", "refunding"): "the bank refused",
    ("refunding", "refunded"): "the refund deposit was confirmed",
}

HEAD = """# States

Written by `python docs/generate_states.py`; a test holds it to the code. The same rules are rows of
`counterfoil.transition_rule`: a trigger writes down the state before, and a foreign key refuses what is not in the table,
whoever asks. A row enters as `waiting`, `pending` or, a payout, `blocked`; nothing is ever deleted.

The order of steps: `client`, then `account` or `adopt`, on cTrader `link`, then `deposit`, `withdraw`, `refund`, `credit_in`, `credit_out`;
`update_client`, `update_account` and `reset_password` when what they change is there. All of them go the same ways.

## Requests

```text
             ┌──────────────────────────────► cancelled ◄────────────┐
             │              │                                         │
 waiting ────┴──► pending ──┴──► sent ──┬──► confirmed ◄──────────┐   │
                     ▲           │  │   └──► rejected            │   │
                     │           │  └──────► parked ◄──┐         │   │
                     ├───────────┘              │ │ └──┼─────────┼───┘
                     │                          │ └────┼─────────┤
                     ├──────────────────────────┘      │         │
                     └─────────────────────────── unknown ───────┘
```

"""


def _rows(ways: frozenset[tuple[str, str]], order: list[str]) -> list[str]:
    ordered = sorted(ways, key=lambda way: (order.index(way[0]), order.index(way[1])))
    return [f"| `{before}` | `{after}` | {WHY[before, after]} |" for before, after in ordered]


def document() -> str:
    """The text of the page."""
    table = ["| from | to | when |", "| --- | --- | --- |"]
    requests = _rows(TRANSITIONS, [NEW, *State])
    payouts = _rows(PAYOUT_TRANSITIONS, [NEW, *PayoutState])
    return HEAD + "\n".join([*table, *requests, "", "## Payouts", "", *table, *payouts]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(document(), encoding="utf-8")
