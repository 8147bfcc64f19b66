"""`counterfoil status` on how fresh the mirror is: how old each resource is, how often it is asked for now, and whether that is in order."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from counterfoil.domain.interval import Interval
from counterfoil.platform_settings import OMTraderSettings, PlatformSettings
from counterfoil.pull.pacing import STREAMED, wanted
from counterfoil.pull.puller import PLANS, RELIES_ON
from counterfoil.setting_values import duration_text
from counterfoil.settings import Settings
from counterfoil.store.cursors import BELIEVED, Recent
from counterfoil.store.report import Report, Resource
from counterfoil.store.streams import STREAM

# Beats, besides the interval that is wanted now, after which a resource is late: one miss is noise.
MISSES = 2
NEVER = Recent(as_of=None, busy_at=None, heard_at=None, relied=False)


@dataclass(frozen=True, slots=True)
class Freshness:
    """One resource; `interval`: how often it is wanted now, None where these settings do not pull it; `state`: in words."""

    row: Resource
    bounds: Interval | None
    interval: timedelta | None
    state: str

    @property
    def asked(self) -> str:
        """How often it is asked for, in words."""
        if self.bounds is None or self.interval is None:
            return ""
        idle = self.bounds.idle > self.bounds.every
        slower = self.interval > self.bounds.every
        within = f" ({'idle, ' if slower else ''}up to {duration_text(self.bounds.idle)})" if idle else ""
        streamed = " (events)" if slower and self.interval > self.bounds.idle else within
        return f"every {duration_text(self.interval)}{streamed}"


def freshness(found: Report, loaded: Settings) -> Iterator[Freshness]:
    """Everything that was ever read, and everything that these settings want read, read or not."""
    rows = {(row.platform, row.resource): row for row in found.resources}
    for platform, settings in loaded.platforms.items():
        for resource in settings.pull:
            unread = Resource(platform, resource, None, None, None, 0, None, NEVER)
            rows.setdefault((platform, resource), unread)
    for (platform, resource), row in sorted(rows.items()):
        own = loaded.platforms.get(platform)
        bounds = own.pull.get(resource) if own else None
        interval = _wanted(own, row) if own and bounds else None
        yield Freshness(row, bounds, interval, _state(row, own, rows))


def _wanted(own: PlatformSettings, row: Resource) -> timedelta:
    return wanted(own.pull[row.resource], row.recent, streamed=_streams(own) and row.resource in STREAMED)


def _streams(own: PlatformSettings) -> bool:
    return isinstance(own, OMTraderSettings) and own.stream


def _state(row: Resource, own: PlatformSettings | None, rows: dict[tuple[str, str], Resource]) -> str:
    if row.reason:
        return f"failing: {row.reason}"
    if own and _streams(own) and row.resource == STREAM:
        return "relied on" if row.age is not None and row.age <= BELIEVED else "not relied on"
    if own is None or row.resource not in own.pull:
        return "not pulled by these settings"
    if row.age is None:
        return "not read yet"
    return "late" if row.age > _in_order(row, own, rows) else "fresh"


def _in_order(row: Resource, own: PlatformSettings, rows: dict[tuple[str, str], Resource]) -> timedelta:
    """How old a resource may be: its interval now and some beats, and as long again for what it learns from another."""
    relied = [name for name in RELIES_ON.get(PLANS[own.kind][row.resource], ()) if name in own.pull]
    others = (_in_order(rows[row.platform, name], own, rows) for name in relied)
    return _wanted(own, row) + own.pull[row.resource].every * MISSES + max(others, default=timedelta(0))
