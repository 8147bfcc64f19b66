"""Emit an event of the catalogue: one log line, and the metrics that follow from it.

    from counterfoil.observe import events

    with events.bind(platform="live", resource="deals", run_id=run_id):
        events.emit(events.PULL_STARTED)

`python -m counterfoil.observe.events` prints docs/events.md.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from counterfoil.domain.errors import BrokenInvariantError
from counterfoil.observe import metrics
from counterfoil.observe.catalogue import *  # noqa: F403 - callers write events.PULL_FINISHED; the catalogue is one list
from counterfoil.observe.catalogue import EVENTS
from counterfoil.observe.event import CONTEXT, Event

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def emit(event: Event, /, **fields: object) -> None:
    """Log the event and count it.

    Fields are those that the event declares, and the context fields, whose bound values they replace. A context field
    that is None does not apply and is left out.

    Raises:
        BrokenInvariantError: the event is not of the catalogue, or a field is not declared.
    """
    if EVENTS.get(event.name) is not event:
        raise BrokenInvariantError(f"event {event.name!r} is not in the catalogue")
    undeclared = fields.keys() - event.fields.keys() - CONTEXT.keys()
    if undeclared:
        raise BrokenInvariantError(f"event {event.name!r} does not declare {', '.join(sorted(undeclared))}")
    entry = {name: value for name, value in (_bound() | fields).items() if value is not None or name not in CONTEXT}
    metrics.observe(event.name, entry)
    structlog.get_logger().log(_LEVELS[event.level], event.name, **entry)


@contextmanager
def bind(**context: object) -> Iterator[None]:
    """Every event inside this block, and in the tasks that it starts, carries these context fields.

    Raises:
        BrokenInvariantError: a field is not one of the context fields.
    """
    foreign = context.keys() - CONTEXT.keys()
    if foreign:
        raise BrokenInvariantError(f"only context fields can be bound, not {', '.join(sorted(foreign))}")
    with structlog.contextvars.bound_contextvars(**context):
        yield


def _bound() -> dict[str, object]:
    bound = structlog.contextvars.get_contextvars()
    return {name: bound[name] for name in CONTEXT if name in bound}


def document() -> str:
    """The text of docs/events.md."""
    lines = [
        "# Events",
        "",
        "Written by `python -m counterfoil.observe.events`; a test holds it to the code.",
        "",
        "A log line is one JSON object: `timestamp` (RFC 3339, UTC), `level`, `event`, then the fields. Every event may",
        "carry the context fields where they apply; at level `debug` an event about an exception also has `stack`.",
        "Exact numbers (money, prices, volumes) are strings. Secrets, names, e-mail addresses and bodies appear nowhere.",
        "Each event counts in the metric `counterfoil_events_total` with its `platform` and `resource`.",
        "",
        *_table("context field", CONTEXT),
    ]
    noun = ""
    for event in EVENTS.values():
        if event.name.partition(".")[0] != noun:
            noun = event.name.partition(".")[0]
            lines += ["", f"## {noun}"]
        lines += ["", *_section(event)]
    return "\n".join(lines) + "\n"


def _section(event: Event) -> list[str]:
    lines = [f"### `{event.name}` ({event.level})", "", event.meaning]
    if event.action:
        lines += ["", f"**To do:** {event.action}"]
    if event.fields:
        lines += ["", *_table("field", event.fields)]
    return lines


def _table(title: str, fields: Mapping[str, str]) -> list[str]:
    return [f"| {title} | meaning |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in fields.items())]


if __name__ == "__main__":
    sys.stdout.write(document())
