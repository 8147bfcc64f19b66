"""The events of the write path; the rest, and how to add one, stand in `catalogue`. References only: never an amount or a name."""

from counterfoil.observe.event import REASON, RETRY, event

_KIND = "what is wanted: client, account, deposit, withdraw …"

# --- intent ---------------------------------------------------------------------------------------------------------

INTENT_SENT = event("intent.sent", "debug", "An attempt begins; it is committed as sent.", kind=_KIND)
INTENT_CONFIRMED = event(
    "intent.confirmed", "info", "The platform did what was asked, and its record is known.", kind=_KIND
)
INTENT_REJECTED = event(
    "intent.rejected",
    "info",
    "The platform refused what was asked; the CRM reads the reason in its view.",
    kind=_KIND,
)
INTENT_POSTPONED = event(
    "intent.postponed",
    "warning",
    "Surely nothing was sent, or it is proven absent; it is tried again by itself.",
    "None when rare; `counterfoil intents show` gives the reason.",
    kind=_KIND,
    retry_in=RETRY,
)
INTENT_UNKNOWN = event(
    "intent.unknown",
    "warning",
    "Nobody can say whether the platform did it: it is looked for there, and not sent again.",
    "None; when it stays so, `counterfoil intents show` gives the evidence.",
    kind=_KIND,
    retry_in="seconds until the next look",
)
INTENT_PARKED = event(
    "intent.parked",
    "error",
    "Only a person can decide; nothing more of this account, or of this person, moves before.",
    "`counterfoil intents show REFERENCE`, then confirm, retry or cancel it with a reason.",
    kind=_KIND,
)
INTENT_RESCUED = event(
    "intent.rescued",
    "warning",
    "The worker of an attempt ended before its result was written; `state` says what is known of it.",
    "None when a process was ended or crashed; when it recurs, look why.",
    state="unknown: it is looked for; pending: surely nothing had left",
)
INTENT_DECIDED = event(
    "intent.decided",
    "info",
    "A person decided at the operator's desk; the reason is kept in counterfoil.decisions.",
    decision="confirm, retry, cancel, resume, rebind or accept-restore",
)

# --- payout ---------------------------------------------------------------------------------------------------------

PAYOUT_RELEASABLE = event(
    "payout.releasable", "info", "The platform has confirmed the withdrawal: the payout may be released."
)
PAYOUT_RELEASED = event("payout.released", "info", "Somebody was told, once, to pay.")
PAYOUT_REFUNDING = event("payout.refunding", "info", "The bank refused; a deposit gives the money back to the account.")

# --- push -----------------------------------------------------------------------------------------------------------

PUSH_PAUSED = event(
    "push.paused",
    "critical",
    "Something else than what was asked stands in the platform's books: nothing more is written to it.",
    "`counterfoil intents show REFERENCE`; when it is understood, `counterfoil intents confirm --resume PLATFORM`.",
)
PUSH_HELD = event(
    "push.held",
    "critical",
    "The database was restored or failed over and may have forgotten what was sent: nothing is written to any platform.",
    "`counterfoil status` says what was found on the platforms; then `counterfoil intents confirm --restored`.",
)
PUSH_RESTING = event(
    "push.resting",
    "warning",
    "The platform as a whole is in the way (a pause, a refused login, a missing right): nothing is begun on it for a while.",
    "None for a short pause; else mend what the reason says, `counterfoil check` tries it out.",
    reason=REASON,
    retry_in=RETRY,
)
PUSH_DEAF = event(
    "push.deaf",
    "warning",
    "The database's wake-up calls are not heard; new requests are noticed by looking, a little later.",
    "None; it is tried again by itself.",
    reason=REASON,
)
PUSH_FAILED = event(
    "push.failed",
    "error",
    "A piece of the write path stopped and is begun again; what it held is rescued when its lease lapses.",
    "Report it with this line when `kind` is invariant.",
    reason=REASON,
    kind="transient or invariant",
    retry_in=RETRY,
)

# --- drift ----------------------------------------------------------------------------------------------------------

DRIFT_FOUND = event(
    "drift.found",
    "warning",
    "A field that the CRM owns was changed on the platform; it is reported and not overwritten.",
    "Change it back on the platform, or tell the CRM, which then asks with crm.update_profile.",
    field="name of the field, never its value",
)
DRIFT_ENDED = event("drift.ended", "info", "Platform and CRM agree on the field again.", field="name of the field")
