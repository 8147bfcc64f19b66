"""Prometheus metrics, named and labelled like the events they follow from.

Labels that do not apply are the empty string. Metrics live in a registry of our own, so that nothing a library
registers by default appears among them.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from counterfoil.observe import catalogue

# The time at which each series began is of no use here and would double the size of the page.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it unannotated

_PULL: Final = ("platform", "resource")
_BUDGET: Final = ("platform", "priority")
_PULL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_STREAM_SECONDS: Final = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30)
_WAIT_SECONDS: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class _Stream:
    """What is told of event streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge(
            "counterfoil_stream_connected",
            "1 while this process has the event stream open.",
            ("platform",),
            registry=registry,
        )
        self.events = Counter(
            "counterfoil_stream_events_total",
            "Events heard and written, doubled ones too.",
            ("platform",),
            registry=registry,
        )
        self.lag = Histogram(
            "counterfoil_stream_lag_seconds",
            "From when the oldest event of a batch was heard until it was committed.",
            ("platform",),
            buckets=_STREAM_SECONDS,
            registry=registry,
        )


class _Freshness:
    """What finished pulls tell of the age of the mirror; those of this process alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Gauge(
            "counterfoil_pull_lag_seconds",
            "How old the mirror had become before the last finished pull.",
            _PULL,
            registry=registry,
        )
        self._interval = Gauge(
            "counterfoil_pull_interval_seconds",
            "Seconds between two pulls that the last finished pull left wanted.",
            _PULL,
            registry=registry,
        )
        self._as_of = Gauge(
            "counterfoil_pull_as_of_timestamp_seconds",
            "Unix time of the moment that the mirror shows since the last finished pull.",
            _PULL,
            registry=registry,
        )
        self._success = Gauge(
            "counterfoil_pull_last_success_timestamp_seconds",
            "Unix time of the last finished pull.",
            _PULL,
            registry=registry,
        )

    def pull_finished(self, labels: tuple[str, str], fields: Mapping[str, object]) -> None:
        """Take the figures out of an event."""
        now = time.time()
        for gauge, name in ((self._lag, "lag"), (self._interval, "interval")):
            if (value := _number(fields.get(name))) is not None:
                gauge.labels(*labels).set(value)
        if (age := _number(fields.get("age"))) is not None:
            self._as_of.labels(*labels).set(now - age)
        self._success.labels(*labels).set(now)


class Metrics:
    """One set of metrics with its registry."""

    def __init__(self) -> None:
        self._pending: deque[Callable[[], None]] = deque()
        self._turn = threading.Lock()
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        self._build = Gauge("counterfoil_build_info", "Always 1; the version.", ("version",), registry=registry)
        self._events = Counter(
            "counterfoil_events_total", "Events of docs/events.md.", ("event", *_PULL), registry=registry
        )
        self._counts = {
            field: Counter(f"counterfoil_pull_{name}_total", text, _PULL, registry=registry)
            for field, name, text in (
                ("requests", "requests", "Requests sent by finished pulls."),
                ("seen", "rows_seen", "Rows read from the platform."),
                ("inserted", "rows_inserted", "Rows new in the mirror."),
                ("changed", "rows_changed", "Rows that were different in the mirror."),
                ("deleted", "rows_deleted", "Rows that got a tombstone."),
                ("quarantined", "rows_quarantined", "Records that could not be read."),
            )
        }
        self._duration = Histogram(
            "counterfoil_pull_duration_seconds",
            "Duration of finished pulls.",
            _PULL,
            buckets=_PULL_SECONDS,
            registry=registry,
        )
        self._freshness = _Freshness(registry)
        self._paused = Gauge(
            "counterfoil_platform_paused",
            "1 while the platform is left alone after failures or for a wrong setting.",
            ("platform",),
            registry=registry,
        )
        self._requests = Counter(
            "counterfoil_requests_total", "Requests that the budget let through.", _BUDGET, registry=registry
        )
        self._waits = Histogram(
            "counterfoil_budget_wait_seconds",
            "Wait of a request for its share of the budget.",
            _BUDGET,
            buckets=_WAIT_SECONDS,
            registry=registry,
        )

        self._stream = _Stream(registry)

    def observe(self, name: str, fields: Mapping[str, object]) -> None:
        """Count the event called `name` and take the figures out of its fields."""
        self._update(partial(self._observe, name, fields))

    def request(self, platform: str, priority: str, waited: float) -> None:
        """A request got its share of the budget after `waited` seconds."""
        self._update(partial(self._request, (platform, priority), waited))

    def render(self) -> tuple[bytes, str]:
        """The page for Prometheus, and its content type."""
        with self._turn:
            page = prometheus_client.generate_latest(self.registry)
        self._drain()
        return page, CONTENT_TYPE_LATEST

    def _update(self, update: Callable[[], None]) -> None:
        self._pending.append(update)
        self._drain()

    def _drain(self) -> None:
        # The library's locks are not re-entrant, and a destructor that runs while one is held may want to say that
        # something was never closed. So updates queue, and whoever has the turn makes those of others as well.
        while self._pending and self._turn.acquire(blocking=False):
            try:
                while self._pending:
                    self._pending.popleft()()
            finally:
                self._turn.release()

    def _observe(self, name: str, fields: Mapping[str, object]) -> None:
        platform, resource = _label(fields, "platform"), _label(fields, "resource")
        self._events.labels(name, platform, resource).inc()
        if name == catalogue.PULL_FINISHED.name:
            self._pull_finished((platform, resource), fields)
        elif name in _STREAMING:
            self._stream.open.labels(platform).set(_STREAMING[name])
        elif name == catalogue.STREAM_WRITTEN.name:
            self._stream.events.labels(platform).inc(_number(fields.get("events")) or 0)
            self._stream.lag.labels(platform).observe(_number(fields.get("lag")) or 0)
        elif name in _PAUSING:
            self._paused.labels(platform).set(_PAUSING[name])
        elif name == catalogue.DAEMON_STARTED.name:
            self._build.labels(_label(fields, "version")).set(1)

    def _pull_finished(self, labels: tuple[str, str], fields: Mapping[str, object]) -> None:
        for field, counter in self._counts.items():
            counter.labels(*labels).inc(_number(fields.get(field)) or 0)
        duration = _number(fields.get("duration"))
        if duration is not None:
            self._duration.labels(*labels).observe(duration)
        self._freshness.pull_finished(labels, fields)

    def _request(self, labels: tuple[str, str], waited: float) -> None:
        self._requests.labels(*labels).inc()
        self._waits.labels(*labels).observe(waited)


_STREAMING: Final[Mapping[str, int]] = {catalogue.STREAM_CONNECTED.name: 1, catalogue.STREAM_CLOSED.name: 0}
_PAUSING: Final[Mapping[str, int]] = {
    catalogue.PLATFORM_PAUSED.name: 1,
    catalogue.PLATFORM_MISCONFIGURED.name: 1,
    catalogue.PLATFORM_RESUMED.name: 0,
    catalogue.PLATFORM_LOGGED_IN.name: 0,
}


def _label(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return "" if value is None else str(value)


def _number(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return None if value is None else float(str(value))


_PROCESS: Final = Metrics()
"""The metrics of this process."""

observe = _PROCESS.observe
request = _PROCESS.request
render = _PROCESS.render
