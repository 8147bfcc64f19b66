"""The settings of one platform: what both kinds have in common, and those of OMTrader."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import combinations
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, field_validator, model_validator

from counterfoil import setting_values as values
from counterfoil.domain.interval import Interval
from counterfoil.setting_sections import Section, shown

SHORTEST_MARGIN = timedelta(seconds=5)
"""What a lease must leave after a request has timed out: time to write down how it ended."""


class RateLimitSettings(Section):
    """What may be asked of a platform, over all replicas together."""

    per_second: values.Rate = 5.0
    """Requests a second in the long run."""
    burst: values.Whole = Field(default=10, ge=1, le=10_000)
    """Requests that may go out at once after a quiet time."""
    concurrent: values.Whole = Field(default=4, ge=1, le=64)
    """Requests under way at the same time."""


class Every(Section):
    """How often a resource is pulled."""

    every: values.Duration
    """The time between two pulls."""

    @property
    def interval(self) -> Interval:
        """The same whether anything changes or not."""
        return Interval.steady(self.every)


class EveryOrIdle(Every):
    """How often a resource is pulled, less often while nothing changes where `idle` is given."""

    idle: Annotated[values.Duration | None, values.GIVEN] = None
    """The longest time between two pulls, however long nothing changes; left out: that of `every`."""

    @field_validator("idle")
    @classmethod
    def _idle_is_longer(cls, idle: timedelta, info: ValidationInfo) -> timedelta:
        every = info.data.get("every")  # absent when it was refused itself
        if every is not None and idle < every:
            given = values.duration_text(every)
            raise values.wrong(f"is shorter than every: {given}; it is the longest interval: write {given} or more")
        return idle

    @property
    def interval(self) -> Interval:
        """From `every` to `idle`."""
        return Interval(self.every, self.idle or self.every)


def _interval_of(section: type[Every]) -> Callable[[object], Interval | None]:
    """Reads the time between two pulls, None for `off` (which YAML reads as false)."""

    def interval(value: object) -> Interval | None:
        if value is False or value == "off":
            return None
        if not isinstance(value, Mapping):
            raise values.wrong("is not an interval; write {every: 30s}, or off")
        return section.model_validate(value).interval

    return interval


Steady: TypeAlias = Annotated[
    Interval | None, PlainValidator(_interval_of(Every), json_schema_input_type=Every | Literal["off", False])
]
"""Always the same: the sweep, and what asks nothing of the platform while nothing changes but its share of a slow round."""
Adaptive: TypeAlias = Annotated[
    Interval | None,
    PlainValidator(_interval_of(EveryOrIdle), json_schema_input_type=EveryOrIdle | Literal["off", False]),
]
"""Between two bounds."""


def every(text: str) -> Any:
    """The field of a resource that is pulled at this interval where the file says nothing."""
    return Field(default={"every": text}, validate_default=True)


def intervals(pulls: Section) -> Mapping[str, Interval]:
    """The interval of each resource that is pulled; what is `off` is absent."""
    return MappingProxyType({name: interval for name, interval in pulls if interval is not None})


class UnknownSettings(Section):
    """When 'not found' may be believed of a write whose answer never came."""

    settle: values.Settle = Field(default="15m", validate_default=True)
    """How long after a write's deadline it may still take effect, because buffered bytes arrive late; 1s to 24h."""
    looks: values.Whole = Field(default=2, ge=2, le=10)
    """How many looks must agree that it is not there."""
    between: values.Duration = Field(default="5s", validate_default=True)
    """The time between two looks."""


class PlatformSettings(Section):
    """What the settings of both kinds of platform have in common."""

    PULLS: ClassVar[type[Section]]
    """The section `pull` of this kind."""

    kind: str
    """The platform's API."""
    base_url: values.BaseUrl
    """`https://host[:port]`; plain `http://` only to this machine, a private address or a container's name."""
    password: values.Secret
    """The password of the Manager account."""
    ca_file: Annotated[values.ReadableFile | None, values.GIVEN] = None
    """PEM file with the authority that signed the server's certificate; without it, the system's authorities."""
    timeout: values.Timeout = Field(default="20s", validate_default=True)
    """How long one request may take, at most 25s."""
    lease: values.Lease = Field(default="30s", validate_default=True)
    """How long a worker holds a write before another may take it over: 5s longer than `timeout` or more, at most 10m."""
    rate_limit: RateLimitSettings = Field(default_factory=RateLimitSettings)
    """What may be asked of the platform, over all replicas together."""
    pull: Mapping[str, Interval]
    """The interval of each resource that is pulled, and of the sweep; what is `off` is absent."""
    push: Annotated[bool | None, values.GIVEN] = None
    """Whether the platform is written to; left out: true where `crm.encryption_key` is set, else false."""
    unknown: UnknownSettings = Field(default_factory=UnknownSettings)
    """When 'not found' may be believed of a write whose answer never came."""
    account_defaults: Mapping[str, int | str]
    """What a new account gets where the CRM says nothing; what is not given is absent."""

    @field_validator("lease")
    @classmethod
    def _lease_outlives_a_request(cls, lease: timedelta, info: ValidationInfo) -> timedelta:
        timeout = info.data.get("timeout")  # absent when it was refused itself
        if timeout is not None and lease < timeout + SHORTEST_MARGIN:
            shortest, given = values.duration_text(timeout + SHORTEST_MARGIN), values.duration_text(timeout)
            raise values.wrong(f"is too short for timeout: {given}; write at least {shortest}, or a shorter timeout")
        return lease

    @model_validator(mode="after")
    def _ca_file_serves_https(self) -> Self:
        if self.ca_file and self.base_url.startswith("http://"):
            raise values.stated("ca_file does nothing with http://; remove it, or write https://")
        return self

    def shown(self) -> dict[str, object]:
        """As in `Section`; resources that are not pulled read `off`."""
        pull = dict.fromkeys(self.PULLS.model_fields, "off") | dumped(self.pull)
        return {**super().shown(), "pull": pull}


def dumped(pulls: Mapping[str, Interval]) -> dict[str, dict[str, object]]:
    """The intervals as the file would write them, those that are off left out."""
    return {name: _shown(interval) for name, interval in pulls.items()}


def _shown(interval: Interval) -> dict[str, object]:
    """As the file would write it."""
    every = {"every": shown(interval.every)}
    return every if interval == Interval.steady(interval.every) else {**every, "idle": shown(interval.idle)}


class PullSettings(Section):
    """How often each resource is pulled; one that is left out keeps its default, `off`: it is not pulled."""

    accounts: Adaptive = every("60s")
    positions: Adaptive = every("15s")
    deals: Adaptive = every("30s")
    transactions: Steady = every("60s")
    orders: Adaptive = every("60s")
    clients: Adaptive = every("5m")
    groups: Adaptive = every("1h")
    symbols: Adaptive = every("1h")
    commissions: Adaptive = every("1h")
    group_symbols: Adaptive = every("1h")
    sweep: Steady = every("24h")
    """The full comparison that finds late rows and deletions."""


def _pull(value: object) -> Mapping[str, Interval]:
    return intervals(PullSettings.model_validate(value))


class MovementSettings(Section):
    """How one kind of money movement is told to the platform."""

    side: values.Natural
    """The value of `side`: 2 is balance and 3 credit in the vendor's enumeration."""
    direction: values.Natural
    """The value of `direction`: 0 is in and 1 out in the vendor's enumeration."""


class MoneySettings(Section):
    """The body of a money transfer, which nothing public describes: compare it with the broker's Swagger page."""

    deposit: MovementSettings = MovementSettings(side=2, direction=0)
    """Money in."""
    withdraw: MovementSettings = MovementSettings(side=2, direction=1)
    """Money out."""
    credit_in: MovementSettings = MovementSettings(side=3, direction=0)
    """A bonus that cannot be withdrawn."""
    credit_out: MovementSettings = MovementSettings(side=3, direction=1)
    """Such a bonus taken back."""
    amount_field: values.MoneyField = "amount"
    """The field that carries the amount, always positive."""
    reference_field: values.MoneyField = "comment"
    """The field that carries our reference and can be read back from the account's transactions."""

    @model_validator(mode="after")
    def _everything_can_be_told_apart(self) -> "MoneySettings":
        if self.amount_field == self.reference_field:
            raise values.stated(
                f"amount_field and reference_field are both {self.amount_field}; name two fields", "amount_field"
            )
        movements = ((name, value) for name, value in self if isinstance(value, MovementSettings))
        for (one, first), (other, second) in combinations(movements, 2):
            if first == second:
                text = f"same side and direction as {one}, so that the two could not be told apart; change one of them"
                raise values.stated(text, other)
        return self


class AccountDefaults(Section):
    """What a new account gets where the CRM says nothing; never passwords, balances or a login name."""

    group_id: Annotated[values.Positive | None, values.GIVEN] = None
    """The group on the platform."""
    leverage: Annotated[values.Natural | None, values.GIVEN] = None
    """1:x; 0 means the group's."""
    company: Annotated[str | None, values.GIVEN] = None
    """The holder's company."""
    country: Annotated[str | None, values.GIVEN] = None
    """The holder's country, in the platform's own spelling."""
    zip_code: Annotated[str | None, values.GIVEN] = None
    """The holder's postal code."""
    state: Annotated[str | None, values.GIVEN] = None
    """The holder's state or province."""
    city: Annotated[str | None, values.GIVEN] = None
    """The holder's city."""
    address: Annotated[str | None, values.GIVEN] = None
    """The holder's street address."""


def _account_defaults(value: object) -> Mapping[str, int | str]:
    return MappingProxyType(AccountDefaults.model_validate(value).model_dump(exclude_unset=True))


STREAM_NEEDS = ("groups", "positions", "orders", "deals")
"""What must be polled where there is a stream: the groups to listen to, and the judges of what it brings."""


class OMTraderSettings(PlatformSettings):
    """One OMTrader server, read and written through its Manager API."""

    PULLS = PullSettings

    kind: Literal["omtrader"]
    """`omtrader`: OMTrader's Manager API."""
    username: values.Username
    """The login of a Manager account that sees every group to be mirrored; `password` is its password."""
    deals_path: values.ApiPath = "/api/v1/trader/deals"
    """Where deals are listed, as published; some servers may want `/api/v1/manager/deals`."""
    page_size: values.Whole = Field(default=500, ge=2, le=10_000)
    """Rows a page; at least 2, because each page after the first overlaps the one before."""
    pull: Annotated[
        Mapping[str, Interval], PlainValidator(_pull, json_schema_input_type=PullSettings), PlainSerializer(dumped)
    ] = Field(default_factory=lambda: _pull({}))
    """The interval of each resource that is pulled, and of the sweep; what is `off` is absent."""
    money: MoneySettings = Field(default_factory=MoneySettings)
    """The body of a money transfer: compare it with the broker's Swagger page."""
    account_defaults: Annotated[
        Mapping[str, int | str],
        PlainValidator(_account_defaults, json_schema_input_type=AccountDefaults),
        PlainSerializer(dict),
    ] = Field(default_factory=lambda: _account_defaults({}))
    """What a new account gets where the CRM says nothing; what is not given is absent."""
    put: Literal["merge", "partial"] = "merge"
    """What is sent to change a record; what a PUT does with fields that it does not name is not documented.

    `merge`: the record is read, changed and sent with everything that can be written, and `crm.update_account` is refused.
    `partial`: the broker confirmed that a PUT keeps what it does not name, and only changed fields are sent.
    """
    stream: bool = False
    """WebSocket events on top of polling: positions, orders and deals are mirrored within a second."""
    stream_url: Annotated[values.StreamUrl | None, values.GIVEN] = None
    """`wss://host[:port]` where the WebSocket is at another host; left out: that of `base_url`."""

    @model_validator(mode="after")
    def _stream_is_judged(self) -> Self:
        missing = [name for name in STREAM_NEEDS if name not in self.pull]
        if self.stream and missing:
            text = f"stream: true needs pull.{missing[0]}, which brings what the stream misses; give it an interval"
            raise values.stated(text, "stream")
        if self.stream_url is not None and not self.stream:
            raise values.stated("does nothing without stream: true; remove it, or write stream: true", "stream_url")
        return self

    @property
    def stream_address(self) -> str | None:
        """Where the WebSocket is, ws:// or wss:// and the host; None where there is no stream."""
        if not self.stream or self.stream_url is not None:
            return self.stream_url
        parts = urlsplit(self.base_url)
        return f"{'ws' if parts.scheme == 'http' else 'wss'}://{parts.netloc}"
