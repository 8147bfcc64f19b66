"""Figures of the events become metrics under the promised names."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest

from counterfoil.observe import events
from counterfoil.observe.metrics import Metrics

HERE = {"platform": "live", "resource": "deals"}
FINISHED = {
    **HERE,
    "requests": 3,
    "seen": 500,
    "inserted": 40,
    "changed": 5,
    "deleted": 2,
    "quarantined": 1,
    "lag": 1.5,
    "age": 0.25,
    "interval": 30.0,
    "duration": 0.2,
}


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("counterfoil_pull_requests_total", 3),
        ("counterfoil_pull_rows_seen_total", 500),
        ("counterfoil_pull_rows_inserted_total", 40),
        ("counterfoil_pull_rows_changed_total", 5),
        ("counterfoil_pull_rows_deleted_total", 2),
        ("counterfoil_pull_rows_quarantined_total", 1),
        ("counterfoil_pull_lag_seconds", 1.5),
        ("counterfoil_pull_interval_seconds", 30),
        ("counterfoil_pull_duration_seconds_sum", 0.2),
        ("counterfoil_pull_duration_seconds_count", 1),
    ],
)
def test_a_finished_pull_leaves_its_figures(name, expected):
    metrics = Metrics()
    metrics.observe("pull.finished", FINISHED)
    assert value(metrics, name, **HERE) == expected


def test_a_finished_pull_leaves_its_time(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.25)
    metrics = Metrics()
    metrics.observe("pull.finished", FINISHED)
    assert value(metrics, "counterfoil_pull_last_success_timestamp_seconds", **HERE) == 1_700_000_000.25
    assert value(metrics, "counterfoil_pull_as_of_timestamp_seconds", **HERE) == 1_700_000_000


@pytest.mark.parametrize("name", ["interval", "lag"])
def test_what_a_finished_pull_does_not_know_has_no_figure(name):
    metrics = Metrics()
    metrics.observe("pull.finished", {**FINISHED, name: None})
    assert value(metrics, f"counterfoil_pull_{name}_seconds", **HERE) is None


def test_counts_of_several_pulls_add_up():
    metrics = Metrics()
    metrics.observe("pull.finished", FINISHED)
    metrics.observe("pull.finished", FINISHED)
    assert value(metrics, "counterfoil_pull_rows_seen_total", **HERE) == 1000


def test_a_pull_without_new_rows_leaves_the_lag_as_it_was():
    metrics = Metrics()
    metrics.observe("pull.finished", FINISHED)
    metrics.observe("pull.finished", FINISHED | {"lag": None})
    assert value(metrics, "counterfoil_pull_lag_seconds", **HERE) == 1.5


@pytest.mark.parametrize("lag", [timedelta(seconds=90), Decimal(90), 90, 90.0])
def test_a_lag_may_come_in_any_type_of_seconds(lag):
    metrics = Metrics()
    metrics.observe("pull.finished", FINISHED | {"lag": lag})
    assert value(metrics, "counterfoil_pull_lag_seconds", **HERE) == 90


@pytest.mark.parametrize("name", events.EVENTS)
def test_every_event_counts(name):
    metrics = Metrics()
    metrics.observe(name, HERE)
    assert value(metrics, "counterfoil_events_total", event=name, **HERE) == 1


def test_a_label_that_does_not_apply_is_empty():
    metrics = Metrics()
    metrics.observe("daemon.ready", {})
    assert value(metrics, "counterfoil_events_total", event="daemon.ready", platform="", resource="") == 1


@pytest.mark.parametrize("pausing", ["platform.paused", "platform.misconfigured"])
@pytest.mark.parametrize("ending", ["platform.resumed", "platform.logged_in"])
def test_a_pause_shows_until_the_platform_is_back(pausing, ending):
    metrics = Metrics()
    metrics.observe(pausing, {"platform": "live"})
    during = value(metrics, "counterfoil_platform_paused", platform="live")
    metrics.observe(ending, {"platform": "live"})
    assert (during, value(metrics, "counterfoil_platform_paused", platform="live")) == (1, 0)


def test_a_request_counts_with_its_wait():
    metrics = Metrics()
    metrics.request("live", "money", 0.25)
    labels = {"platform": "live", "priority": "money"}
    assert value(metrics, "counterfoil_requests_total", **labels) == 1
    assert value(metrics, "counterfoil_budget_wait_seconds_sum", **labels) == 0.25


def test_the_version_shows_once_the_daemon_started():
    metrics = Metrics()
    metrics.observe("daemon.started", {"version": "1.2.3", "platforms": ["live"]})
    assert value(metrics, "counterfoil_build_info", version="1.2.3") == 1


def test_the_page_is_prometheus_text_without_series_of_creation_times():
    metrics = Metrics()
    metrics.observe("pull.finished", FINISHED)
    page, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    assert b"counterfoil_pull_rows_seen_total" in page
    assert b"_created" not in page


def test_threads_lose_no_count():
    metrics = Metrics()

    def work():
        for _ in range(500):
            metrics.request("live", "rest", 0.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.render()
    assert value(metrics, "counterfoil_requests_total", platform="live", priority="rest") == 4000


@pytest.mark.timeout(10)
def test_a_destructor_that_says_something_in_the_middle_of_counting_does_not_hang(monkeypatch):
    metrics = Metrics()
    counter, labels = metrics._events, metrics._events.labels

    def labels_with_garbage_collection(*values):
        with counter._lock:
            if values[0] == "daemon.ready":
                metrics.observe("library.logged", {})
        return labels(*values)

    monkeypatch.setattr(counter, "labels", labels_with_garbage_collection)
    metrics.observe("daemon.ready", {})
    counted = value(metrics, "counterfoil_events_total", event="library.logged", platform="", resource="")
    assert counted == 1


def test_a_stream_is_open_until_it_is_closed():
    metrics = Metrics()
    metrics.observe("stream.connected", {"platform": "live", "resource": "stream", "groups": 3})
    assert value(metrics, "counterfoil_stream_connected", platform="live") == 1
    metrics.observe("stream.closed", {"platform": "live", "resource": "stream", "seconds": 5.0})
    assert value(metrics, "counterfoil_stream_connected", platform="live") == 0


def test_what_a_stream_brings_is_counted_and_timed():
    metrics = Metrics()
    for lag in (0.125, 0.25):
        metrics.observe("stream.written", {"platform": "live", "events": 7, "inserted": 1, "changed": 0, "lag": lag})
    assert value(metrics, "counterfoil_stream_events_total", platform="live") == 14
    assert value(metrics, "counterfoil_stream_lag_seconds_sum", platform="live") == 0.375
    assert value(metrics, "counterfoil_stream_lag_seconds_count", platform="live") == 2
