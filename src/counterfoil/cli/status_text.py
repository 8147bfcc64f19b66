"""`counterfoil status` in words: whether money moves, what needs a person, the queues."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from counterfoil.cli.intents_text import printable
from counterfoil.settings import Settings
from counterfoil.store.desk import Desk, Queue, Waiting

# References that a line names before it only counts.
_NAMED = 5


def headline(desk: Desk, concerns: list[str], loaded: Settings) -> str:
    """The first line: whether money is stuck."""
    if desk.hold.held:
        return (
            "push is held: the database was restored or failed over and may have forgotten what was sent; "
            f"{_before_agreeing(desk)}"
        )
    if stuck := _stuck(desk, loaded):
        return f"money is stuck: {stuck}"
    under_way = sum(queue.pending + queue.sent + queue.unknown for queue in desk.queues)
    told = f"{_counted(under_way, 'request')} under way" if under_way else "nothing is under way"
    if not any(loaded.pushes(name) for name in loaded.platforms):
        told = "these settings only mirror, no platform is written to"
    others = f"; {_counted(len(concerns), 'thing')} of another kind {_verb(len(concerns), 'waits')} for a person"
    return f"money moves: {told}{others if concerns else ', nothing waits for a person'}"


def _stuck(desk: Desk, loaded: Settings) -> str:
    """What holds money up, in one line; empty when nothing does."""
    told = []
    if operations := [item.reference for item in desk.items if item.money and item.person]:
        count = _counted(len(operations), "operation")
        told.append(f"{count} {_verb(len(operations), 'waits')} for a person ({_some(operations)})")
    if desk.behind:
        more = " more" if operations else ""
        told.append(f"{_counted(desk.behind, 'operation')}{more} {_verb(desk.behind, 'stands')} behind what is parked")
    paused = {queue.platform: queue.pending_money for queue in desk.queues if queue.platform in desk.paused}
    for platform, pending in paused.items():
        if pending and platform is not None and platform in loaded.platforms and loaded.pushes(platform):
            told.append(f"{_counted(pending, 'operation')} {_verb(pending, 'waits')} because {platform} is paused")
    return ", ".join(told)


def _before_agreeing(desk: Desk) -> str:
    if desk.hold.unlooked or desk.hold.unsettled:
        return (
            f"{desk.hold.unlooked} requests are still to be looked for and {desk.hold.unsettled} attempts are unsettled: let the "
            "daemon run"
        )
    return "everything was looked for: agree with counterfoil intents confirm --restored -c FILE --reason TEXT"


def concerns(desk: Desk, loaded: Settings) -> list[str]:
    """What needs a person, a line each; the first line of `status` sums it up."""
    lines = [
        f"{platform} is not written to, it is paused: {printable(why)}; when that is understood: counterfoil intents confirm "
        f"--resume {platform} -c FILE --reason TEXT"
        for platform, why in desk.paused.items()
    ]
    lines += [_concern(item) for item in desk.items if item.person and item.why != "not_pushed"]
    idle = [item for item in desk.items if item.why == "not_pushed"]
    for platform in sorted({item.platform or "" for item in idle}):
        count = sum(item.platform == platform for item in idle)
        known = "push is off for it" if platform in loaded.platforms else "these settings do not name it"
        lines.append(
            f"{platform}: {_counted(count, 'request')} {_verb(count, 'is')} pending and {known}: nobody sends what stands there"
        )
    if desk.hold.held:
        lines.insert(0, f"the database was restored or failed over: {_before_agreeing(desk)}")
    return lines


def _concern(item: Waiting) -> str:
    what = f"{item.platform or 'no platform'}: {item.kind.replace('_', ' ')} {item.reference}"
    reason = printable(item.reason or "no reason noted")
    match item.why:
        case "lapsed":
            return f"{what}: sent, its worker ended, and no daemon takes it over: is counterfoil run at work?"
        case "unknown":
            return f"{what}: nobody knows what became of it, and nobody looks: the platform is not written to by these settings"
        case "idle":
            why = printable(item.reason) if item.reason else "is counterfoil run at work, and rate_limit high enough?"
            return f"{what}: nobody takes it up: {why}"
        case "refund":
            return (
                f"{what}: the bank did not pay and {reason}: the trader's money must be given back by hand, then: counterfoil intents "
                f"confirm {item.reference} -c FILE --record ID --reason TEXT"
            )
        case _:
            return f"{what} is parked: {reason}: counterfoil intents show {item.reference} -c FILE"


def queues(desk: Desk) -> Iterator[tuple[str, ...]]:
    """Rows of the table of queues."""
    for queue in desk.queues:
        yield (queue.platform or "(not chosen)", *(str(count) for count in _counts(queue)), _age(queue.oldest))


QUEUE_HEADINGS = ("platform", "waiting", "pending", "sent", "unknown", "parked", "oldest")


def _counts(queue: Queue) -> tuple[int, ...]:
    return queue.waiting, queue.pending, queue.sent, queue.unknown, queue.parked


def _age(age: timedelta | None) -> str:
    return "" if age is None else f"{age.total_seconds():.0f} s"


def _some(references: Iterable[str]) -> str:
    every = list(references)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _verb(count: int, singular: str) -> str:
    if singular == "is":
        return "is" if count == 1 else "are"
    return singular if count == 1 else singular.removesuffix("s")


def plain(desk: Desk) -> dict[str, object]:
    """The same for programs."""
    return {
        "push": {
            "held": desk.hold.held,
            "unlooked": desk.hold.unlooked,
            "unsettled": desk.hold.unsettled,
            "paused": dict(desk.paused),
            "behind": desk.behind,
        },
        "waiting": [
            {
                name: getattr(item, name)
                for name in ("reference", "kind", "platform", "why", "reason", "money", "person")
            }
            | {"since": item.since.isoformat()}
            for item in desk.items
        ],
        "queues": [
            {
                "platform": queue.platform,
                **dict(zip(QUEUE_HEADINGS[1:-1], _counts(queue), strict=True)),
                "oldest_seconds": queue.oldest and queue.oldest.total_seconds(),
            }
            for queue in desk.queues
        ],
    }
