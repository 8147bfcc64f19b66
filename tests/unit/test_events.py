"""The catalogue is closed, and emitting holds to it."""

from pathlib import Path

import pytest
import structlog

from counterfoil.domain.errors import BrokenInvariantError
from counterfoil.observe import catalogue, events, metrics
from counterfoil.observe.event import CONTEXT
from counterfoil.observe.redaction import is_secret_name

DOCUMENT = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture
def said():
    with structlog.testing.capture_logs() as lines:
        yield lines


def test_the_page_about_events_is_what_the_code_says():
    assert DOCUMENT.read_text(encoding="utf-8") == events.document(), (
        "run: python -m counterfoil.observe.events > docs/events.md"
    )


def test_a_constant_is_named_like_its_event():
    named = {name: value for name, value in vars(catalogue).items() if isinstance(value, catalogue.Event)}
    assert {name: event.name.replace(".", "_").upper() for name, event in named.items()} == {
        name: name for name in named
    }


def test_no_two_events_share_a_name():
    declared = [value for value in vars(catalogue).values() if isinstance(value, catalogue.Event)]
    assert len(declared) == len(events.EVENTS)


@pytest.mark.parametrize("event", events.EVENTS.values(), ids=lambda event: event.name)
def test_no_declared_field_would_be_masked(event):
    assert not [name for name in event.fields if is_secret_name(name)]


@pytest.mark.parametrize("event", events.EVENTS.values(), ids=lambda event: event.name)
def test_who_reads_of_trouble_is_told_what_to_do(event):
    assert event.meaning.endswith((".", ":")) or event.meaning[-1].isalnum()
    assert event.action or event.level in {"debug", "info"}


@pytest.mark.parametrize("name", ["pull", "Pull.finished", "pull.finished.twice", "pull finished", ""])
def test_a_name_that_is_not_noun_and_verb_is_refused(name):
    with pytest.raises(BrokenInvariantError, match=r"noun\.verb"):
        events.Event(name=name, level="info", meaning="x")


@pytest.mark.parametrize("field", ["platform", "run_id", "event", "level", "timestamp", "stack"])
def test_an_event_cannot_redeclare_a_field_of_the_line(field):
    with pytest.raises(BrokenInvariantError, match=field):
        events.Event(name="thing.done", level="info", meaning="x", fields={field: "x"})


def test_an_event_is_said_with_its_level_and_fields(said):
    events.emit(events.LEASE_LOST, holder="b", platform="live", resource="deals")
    assert said == [
        {"event": "lease.lost", "log_level": "warning", "holder": "b", "platform": "live", "resource": "deals"}
    ]


def test_an_undeclared_field_is_refused_and_nothing_is_said(said):
    with pytest.raises(BrokenInvariantError, match=r"'lease\.lost' does not declare colour"):
        events.emit(events.LEASE_LOST, holder="b", colour="red")
    assert said == []


def test_an_event_outside_the_catalogue_is_refused(said):
    with pytest.raises(BrokenInvariantError, match="not in the catalogue"):
        events.emit(events.Event(name="lease.lost", level="info", meaning="a forgery"))
    assert said == []


@pytest.mark.parametrize("field", CONTEXT)
def test_every_event_may_carry_context(field, said):
    events.emit(events.DAEMON_READY, **{field: "x"})
    assert said[0][field] == "x"


def test_bound_context_is_carried_and_ends_with_its_block(said):
    with events.bind(platform="live", run_id="r1"):
        events.emit(events.PULL_STARTED)
    events.emit(events.PULL_STARTED)
    assert said == [
        {"event": "pull.started", "log_level": "debug", "platform": "live", "run_id": "r1"},
        {"event": "pull.started", "log_level": "debug"},
    ]


def test_a_field_that_is_given_wins_over_the_bound_one(said):
    with events.bind(platform="live", resource="deals"):
        events.emit(events.PULL_STARTED, resource="orders")
    assert said[0]["resource"] == "orders"


def test_context_that_does_not_apply_is_left_out(said):
    with events.bind(platform="live"):
        events.emit(events.PULL_STARTED, platform=None, resource=None)
    assert said == [{"event": "pull.started", "log_level": "debug"}]


def test_a_declared_field_that_is_unknown_stays_as_null(said):
    events.emit(events.LEASE_LOST, holder=None)
    assert said[0]["holder"] is None


def test_only_context_fields_can_be_bound():
    with pytest.raises(BrokenInvariantError, match="not holder"), events.bind(holder="b"):
        pass


def test_an_event_counts_with_the_context_that_was_bound(said):
    line = b'counterfoil_events_total{event="sweep.finished",platform="bound",resource="deals"} 1.0'
    with events.bind(platform="bound", resource="deals"):
        events.emit(events.SWEEP_FINISHED, late=0, deleted=0)
    assert said
    assert line in metrics.render()[0].splitlines()
