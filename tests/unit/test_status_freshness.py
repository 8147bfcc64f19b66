"""What `status` says of the age of a resource: true, and late only beyond its own bound."""

from datetime import UTC, datetime, timedelta

import pytest

from counterfoil import settings
from counterfoil.cli.status_freshness import Freshness, freshness
from counterfoil.settings import Settings
from counterfoil.store.cursors import Recent
from counterfoil.store.report import Report, Resource

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FILE = """\
database: {url: embedded}
platforms:
  live:
    kind: omtrader
    base_url: https://api.broker.example
    username: crm-api
    password: hunter2
    stream: true
    pull:
      accounts: {every: 60s, idle: 10m}
      deals: {every: 30s}
  plant:
    kind: ctrader
    base_url: https://plant.example
    manager_login: 7
    password: hunter2
    broker_name: A
    environment_name: live
"""


@pytest.fixture
def loaded(tmp_path) -> Settings:
    (tmp_path / "c.yaml").write_text(FILE)
    return settings.load(tmp_path / "c.yaml")


def row(resource: str, age: float | None, *, quiet: float = 0, relied: bool = False, **more: object) -> Resource:
    """A resource of so many seconds, which was quiet for so long before."""
    as_of = None if age is None else NOW - timedelta(seconds=age)
    busy_at = as_of and as_of - timedelta(seconds=quiet)
    known = {"platform": "live", "failures": 0, "reason": None, **more}
    return Resource(
        resource=resource,
        rows=None,
        as_of=as_of,
        age=None if age is None else timedelta(seconds=age),
        recent=Recent(as_of=as_of, busy_at=busy_at, heard_at=None, relied=relied),
        **known,
    )


def told(loaded: Settings, *rows: Resource) -> dict[str, Freshness]:
    report = Report(resources=list(rows), held=[], paused={}, quarantined=0, drifted=0)
    return {f"{one.row.platform}/{one.row.resource}": one for one in freshness(report, loaded)}


@pytest.mark.parametrize(
    ("age", "quiet", "asked", "state"),
    [
        (170, 0, "every 1m (up to 10m)", "fresh"),
        (190, 0, "every 1m (up to 10m)", "late"),
        (190, 600, "every 5m (idle, up to 10m)", "fresh"),
        (700, 86_400, "every 10m (idle, up to 10m)", "fresh"),
        (730, 86_400, "every 10m (idle, up to 10m)", "late"),
    ],
)
def test_an_idle_resource_is_late_only_beyond_its_own_bound(loaded, age, quiet, asked, state):
    found = told(loaded, row("accounts", age, quiet=quiet))["live/accounts"]
    assert (found.asked, found.state) == (asked, state)


def test_a_resource_that_is_streamed_may_be_as_old_as_its_slower_polls(loaded):
    assert told(loaded, row("deals", 100))["live/deals"].state == "late"
    found = told(loaded, row("deals", 100, relied=True))["live/deals"]
    assert (found.asked, found.state) == ("every 2m (events)", "fresh")


@pytest.mark.parametrize(("quiet", "state"), [(0, "late"), (86_400, "fresh")])
def test_transactions_may_be_older_where_the_accounts_that_tell_of_them_may(loaded, quiet, state):
    rows = row("accounts", 100, quiet=quiet), row("transactions", 500)
    assert told(loaded, *rows)["live/transactions"].state == state


def test_what_was_never_read_is_said_to_be(loaded):
    found = told(loaded, row("clients", None, failures=2, reason="down"), row("stream", 5))
    assert found["live/clients"].state == "failing: down"
    assert found["live/orders"].state == found["live/sweep"].state == "not read yet"
    assert found["plant/accounts"].state == "not read yet"
    assert found["plant/accounts"].asked == "every 1m"
    assert found["live/stream"].state == "relied on"
    assert found["live/stream"].asked == ""


def test_what_nobody_pulls_any_more_is_neither_fresh_nor_late(loaded):
    gone = told(loaded, row("deals", 5, platform="old"), row("subaccounts", 5))
    assert gone["old/deals"].state == gone["live/subaccounts"].state == "not pulled by these settings"
    assert gone["old/deals"].asked == ""
