"""The CRM and the daemon do anything in any order: the database tells what the model tells, and refuses the same."""

from itertools import count

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.boundary import PROFILE, Boundary, boundary
from support.boundary_model import Model, Refusal

RUNS = settings(
    max_examples=60,
    stateful_step_count=35,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
STATES = ("waiting", "pending", "sent", "unknown", "parked", "confirmed", "rejected", "cancelled")
ATTEMPTS = [
    ("sent", "confirmed"),
    ("sent", "unknown", "confirmed"),
    ("sent", "unknown", "parked", "confirmed"),
    ("sent", "unknown", "pending"),
    ("sent", "rejected"),
]
people = st.sampled_from(["p", "q"])
accounts = st.sampled_from(["p/1", "p/1", "q/1", "a"])
operations = st.sampled_from(["m", "n", "o", "a"])
anything = st.sampled_from(["p", "q", "p/1", "a", "m", "m", "n", "n", "o", "m/refund"])
withdrawn = st.sampled_from(["m", "m", "n", "n", "o", "a"])
amounts = st.sampled_from([1, 1, 1, 2, 0])
money = st.sampled_from([("deposit",), ("withdraw",), ("withdraw",), ("credit", "in"), ("credit", "out")])
texts = st.sampled_from(["one", "one", "two"])
worlds = count()


class Machine(RuleBasedStateMachine):
    """One world of names in the shared database, and its model."""

    def __init__(self, it: Boundary) -> None:
        super().__init__()
        self.it, self.model, self.prefix = it, Model(), f"{next(worlds)}:"

    def ask(self, said: object, function: str, *given: object) -> None:
        """Ask the model and the database; both must agree."""
        try:
            said()
            expected = None
        except Refusal as refusal:
            expected = refusal.args[0]
        try:
            self.it.crm.call(function, *given)
            found = None
        except psycopg.Error as error:
            found = error.sqlstate
        assert found == expected, (function, given)

    @initialize(withdrawals=st.sampled_from(["", "m", "m", "mn", "mn", "mn", None]), confirmed=st.integers(0, 2))
    def begin(self, withdrawals, confirmed):
        """Most worlds begin where money has moved: the way there is long."""
        if withdrawals is not None:
            self.register("p", "live", account=True)
            self.reach("p", "sent", "confirmed")
            self.reach("p/1", "sent", "confirmed")
            for name in withdrawals:
                self.operate(("withdraw",), name, "p/1", 1)
            for name in withdrawals[:confirmed]:
                self.reach(name, "sent", "confirmed")

    def reach(self, name, *states):
        step = self.model.named.get(name) or self.model.clients[name]
        for state in states:
            self.it.owner.advance(self.prefix + name, state)
            self.model.reach(step, state)

    @rule(who=people, platform=st.sampled_from([None, "live", "live"]), account=st.booleans())
    def register(self, who, platform, account):
        more = [{}] if account else []
        model = self.model
        self.ask(
            lambda: model.register(who, platform, account=account),
            *("register", self.prefix + who, PROFILE, platform, *more),
        )

    @rule(who=people)
    def choose(self, who):
        self.ask(lambda: self.model.choose(who), "choose_platform", self.prefix + who, "live")

    @rule(name=st.sampled_from(["a", "m"]), who=people)
    def open(self, name, who):
        self.ask(lambda: self.model.open(name, who), "open_account", self.prefix + name, self.prefix + who, {})

    @rule(how=money, name=operations, account=accounts, amount=amounts)
    def operate(self, how, name, account, amount):
        function, *direction = how
        self.ask(
            lambda: self.model.operate("_".join(how), name, account, amount),
            *(function, self.prefix + name, self.prefix + account, amount, *direction),
        )

    @rule(name=anything)
    def cancel(self, name):
        self.ask(lambda: self.model.cancel(name), "cancel", self.prefix + name)

    @rule(name=withdrawn)
    def release(self, name):
        self.ask(lambda: self.model.release(name), "release_payout", self.prefix + name)

    @rule(name=withdrawn, bank=texts)
    def settle(self, name, bank):
        self.ask(lambda: self.model.settle(name, bank), "settle_payout", self.prefix + name, bank)

    @rule(name=withdrawn, why=texts)
    def fail(self, name, why):
        self.ask(lambda: self.model.fail(name, why), "fail_payout", self.prefix + name, why)

    @precondition(lambda self: self.payable())
    @rule(data=st.data())
    def follow_a_payout(self, data):
        """So that long ways are walked often enough."""
        name = data.draw(st.sampled_from(self.payable()))
        data.draw(st.sampled_from([self.release, self.settle_one, self.release, self.fail_one]))(name)

    def payable(self):
        return [name for name, payout in self.model.payouts.items() if payout.state in ("releasable", "released")]

    def fail_one(self, name):
        self.ask(lambda: self.model.fail(name, "one"), "fail_payout", self.prefix + name, "one")

    def settle_one(self, name):
        self.ask(lambda: self.model.settle(name, "one"), "settle_payout", self.prefix + name, "one")

    @precondition(lambda self: self.model.clients)
    @rule(data=st.data(), state=st.sampled_from(STATES))
    def step(self, data, state):
        """The daemon or the desk tries anything, lawful or not."""
        step = data.draw(st.sampled_from(self.model.steps()))
        lawful = self.model.may_reach(step, state)
        if state == step.state:
            return
        try:
            self.it.owner.advance(self.prefix + step.name, state)
        except psycopg.IntegrityError:
            assert not lawful, (step, state)
        else:
            assert lawful, (step, state)
            self.model.reach(step, state)

    def lawful(self):
        everything = [(step, state) for step in self.model.steps() for state in STATES]
        return [(step.name, state) for step, state in everything if self.model.may_reach(step, state)]

    @precondition(lambda self: self.lawful())
    @rule(data=st.data())
    def lawful_step(self, data):
        """What the daemon and the desk do on a usual day."""
        self.reach(*data.draw(st.sampled_from(self.lawful())))

    @precondition(lambda self: any(state == "sent" for _, state in self.lawful()))
    @rule(data=st.data())
    def attempt(self, data):
        """What mostly goes well, so that much is confirmed."""
        name = data.draw(st.sampled_from([name for name, state in self.lawful() if state == "sent"]))
        self.reach(name, *data.draw(st.sampled_from(ATTEMPTS)))

    def told(self, columns: str, view: str, key: str = "reference") -> dict[str, tuple[object, ...]]:
        """What a view tells of this world, by name."""
        statement = f"SELECT {key}, {columns} FROM crm.{view} WHERE starts_with({key}, %s)"
        rows = self.it.crm.rows(statement, self.prefix)
        return {str(name).removeprefix(self.prefix): tuple(rest) for name, *rest in rows}

    @invariant()
    def registrants_are_as_the_model_says(self):
        expected = {who: (step.state, self.model.platforms[who]) for who, step in self.model.clients.items()}
        assert self.told("state, platform", "registrants", "registrant_id") == expected

    @invariant()
    def accounts_are_as_the_model_says(self):
        steps = self.model.named.values()
        expected = {
            step.name: (step.state, self.model.platforms[str(step.content[0])])
            for step in steps
            if step.kind == "account"
        }
        assert self.told("state, platform", "accounts") == expected

    @invariant()
    def operations_are_as_the_model_says(self):
        expected = {}
        for step in self.model.named.values():
            if step.kind != "account":
                before = self.model.in_the_way(step)
                behind = f"behind {self.prefix}{before}" if before else None
                expected[step.name] = (step.kind, step.state, step.amount, f"{self.prefix}{step.account}", behind)
        columns = "kind, state, amount, account_reference, CASE WHEN state = 'pending' THEN reason END"
        assert self.told(columns, "operations") == expected

    @invariant()
    def payouts_are_as_the_model_says(self):
        payouts = self.model.payouts.items()
        expected = {name: (payout.state, payout.released, payout.bank) for name, payout in payouts}
        assert self.told("state, released_at IS NOT NULL, bank_reference", "payouts") == expected


def test_whatever_is_asked_in_whatever_order_the_views_equal_the_model(database_url):
    with boundary(database_url) as it:
        run_state_machine_as_test(lambda: Machine(it), settings=RUNS)
        reached = it.owner.rows("SELECT DISTINCT state FROM counterfoil.events")
    # Enough was reached for the comparison to mean something.
    assert {"confirmed", "cancelled", "releasable", "released", "refunding", "declined"} <= {
        state for (state,) in reached
    }
