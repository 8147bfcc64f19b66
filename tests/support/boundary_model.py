"""What the boundary should do, said once more in Python and from the contract alone: a book of states and refusals."""

from dataclasses import dataclass, field
from typing import TypeVar

Known = TypeVar("Known")
ENDED = ("confirmed", "rejected", "cancelled")
UNSETTLED = ("sent", "unknown", "parked")
IN_THE_WAY = ("pending", *UNSETTLED)
STEPS = {
    "waiting": ("cancelled",),
    "pending": ("sent", "cancelled"),
    "sent": ("confirmed", "rejected", "pending", "parked", "unknown"),
    "unknown": ("confirmed", "pending", "parked"),
    "parked": ("confirmed", "pending", "cancelled"),
}


class Refusal(Exception):  # noqa: N818 - what a call is answered with, by design
    """The SQLSTATE that a call must be answered with."""


@dataclass
class Step:
    """One thing that is wanted of the platform."""

    name: str
    kind: str
    content: tuple[object, ...]
    behind: "Step | None" = None
    account: str | None = None
    amount: int | None = None
    state: str = "waiting"

    @property
    def lane(self) -> str:
        return f"money {self.account}" if self.account else f"{self.kind} {self.name}"


@dataclass
class Payout:
    """Money behind a withdrawal."""

    state: str = "blocked"
    released: bool = False
    bank: str | None = None
    failure: str | None = None


@dataclass
class Model:
    """Everything that was asked for, in the order asked."""

    clients: dict[str, Step] = field(default_factory=dict)
    platforms: dict[str, str | None] = field(default_factory=dict)
    named: dict[str, Step] = field(default_factory=dict)
    payouts: dict[str, Payout] = field(default_factory=dict)

    def register(self, who: str, platform: str | None, *, account: bool) -> None:
        if who in self.clients:
            _same(self.clients[who].content, (platform, account))
            return
        client = Step(who, "client", (platform, account), state="pending" if platform else "waiting")
        self.clients[who], self.platforms[who] = client, platform
        if account:
            self._plan(Step(f"{who}/1", "account", (who,), client))

    def choose(self, who: str) -> None:
        client = _known(self.clients, who)
        if self.platforms[who]:
            return
        _require(client.state == "waiting", "CF003")
        self.platforms[who], client.state = "live", "pending"

    def open(self, name: str, who: str) -> None:
        client = _known(self.clients, who)
        if name in self.named:
            _same((self.named[name].kind, *self.named[name].content), ("account", who))
            return
        self._plan(Step(name, "account", (who,), client))

    def operate(self, kind: str, name: str, account: str, amount: int) -> None:
        if name in self.named:
            _same((self.named[name].kind, *self.named[name].content), (kind, account, amount))
            return
        _require(account in self.named and self.named[account].kind == "account", "CF005")
        _require(amount > 0, "CF006")
        self._plan(Step(name, kind, (account, amount), self.named[account], account, amount))
        if kind == "withdraw":
            self.payouts[name] = Payout()

    def _plan(self, step: Step) -> None:
        assert step.behind is not None
        _require(step.behind.state not in ("rejected", "cancelled"), "CF003")
        step.state = "pending" if step.behind.state == "confirmed" else "waiting"
        self.named[step.name] = step

    def cancel(self, name: str) -> None:
        step = self.named.get(name) or _known(self.clients, name)
        if step.state != "cancelled":
            _require(step.state in ("waiting", "pending") and step.kind != "refund", "CF003")
            self.reach(step, "cancelled")

    def release(self, name: str) -> None:
        payout = _known(self.payouts, name)
        _require(not payout.released, "CF002")
        _require(payout.state != "blocked", "CF001")
        _require(payout.state == "releasable", "CF003")
        payout.state, payout.released = "released", True

    def settle(self, name: str, bank: str) -> None:
        payout = _known(self.payouts, name)
        if payout.state == "settled":
            _same(payout.bank, bank)
            return
        _require(payout.state == "released", "CF003")
        payout.state, payout.bank = "settled", bank

    def fail(self, name: str, why: str) -> None:
        payout = _known(self.payouts, name)
        if payout.state in ("refunding", "refunded"):
            _same(payout.failure, why)
            return
        _require(payout.state in ("releasable", "released"), "CF003")
        payout.state, payout.failure = "refunding", why
        money = self.named[name]
        refund = Step(f"{name}/refund", "refund", (name,), money.behind, money.account, money.amount)
        self._plan(refund)

    def steps(self) -> list[Step]:
        return [*self.clients.values(), *self.named.values()]

    def may_reach(self, step: Step, state: str) -> bool:
        """Whether the daemon or a person at the desk may do this."""
        alone = not any(other.state in UNSETTLED for other in self.steps() if other.lane == step.lane)
        return state in STEPS.get(step.state, ()) and (state != "sent" or alone)

    def reach(self, step: Step, state: str) -> None:
        """The step is in this state now, with all that follows."""
        step.state = state
        followers = [other for other in self.steps() if other.behind is step and other.state == "waiting"]
        if state == "confirmed":
            for other in followers:
                other.state = "pending"
        elif state in ENDED:
            for other in followers:
                self.reach(other, "cancelled")
        self._pay(step)

    def _pay(self, step: Step) -> None:
        if step.kind == "withdraw" and step.state in ENDED:
            self.payouts[step.name].state = "releasable" if step.state == "confirmed" else "declined"
        elif step.kind == "refund" and step.state == "confirmed":
            self.payouts[str(step.content[0])].state = "refunded"

    def in_the_way(self, step: Step) -> str | None:
        """The first unfinished operation before a pending one on its account."""
        lane = [other for other in self.named.values() if other.lane == step.lane]
        before = [other.name for other in lane[: lane.index(step)] if other.state in IN_THE_WAY]
        return before[0] if before and step.state == "pending" else None


def _require(condition: object, code: str) -> None:
    if not condition:
        raise Refusal(code)


def _same(earlier: object, now: object) -> None:
    _require(earlier == now, "CF004")


def _known(book: dict[str, Known], name: str) -> Known:
    _require(name in book, "CF005")
    return book[name]
