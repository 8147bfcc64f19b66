"""The settings of a cTrader platform: how it is reached, read, and written to.

Names, ranges and words are the vendor's where they end up in a request (reference, sections 1, 2 and 4.1).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator

from counterfoil import setting_values as values
from counterfoil.domain.interval import Interval
from counterfoil.platform_settings import (
    Adaptive,
    PlatformSettings,
    RateLimitSettings,
    Steady,
    dumped,
    every,
    intervals,
)
from counterfoil.setting_sections import Section


class CTraderRateLimitSettings(RateLimitSettings):
    """What may be asked of a cTrader platform, over all replicas together."""

    writes_per_hour: values.Whole = Field(default=1000, ge=1, le=1_000_000)
    """Requests other than GET in any hour; the vendor rejects what is more, and publishes no number: ask the broker."""


class CTraderPullSettings(Section):
    """How often each resource is pulled; one that is left out keeps its default, `off`: it is not pulled.

    The vendor may restrict whoever asks more often than about once a minute (reference, section 1.3): a shorter interval
    is for a simulated platform, or for a broker who agrees.
    """

    accounts: Adaptive = every("60s")
    positions: Adaptive = every("60s")
    deals: Adaptive = every("60s")
    transactions: Steady = every("60s")
    groups: Adaptive = every("1h")
    symbols: Adaptive = every("1h")
    deposit_assets: Adaptive = every("1h")
    subaccounts: Steady = every("5m")
    clients: Steady = every("5m")
    sweep: Steady = every("24h")
    """The full comparison that finds late rows and deletions."""


def _pull(value: object) -> Mapping[str, Interval]:
    return intervals(CTraderPullSettings.model_validate(value))


class CTraderAccountDefaults(Section):
    """What a new account gets where the CRM says nothing, by the vendor's names; never passwords or balances."""

    groupName: Annotated[values.Text | None, values.GIVEN] = None
    """The group on the platform, which must exist."""
    depositCurrency: Annotated[values.Text | None, values.GIVEN] = None
    """The account's currency, one of the platform's deposit assets."""
    leverageInCents: Annotated[values.Positive | None, values.GIVEN] = None
    """Leverage in hundredths: 10000 is 1:100."""
    maxLeverage: Annotated[values.Positive | None, values.GIVEN] = None
    """The highest leverage that any symbol may have, in hundredths too."""
    accountType: Annotated[Literal["HEDGED", "NETTED", "SPREAD_BETTING"] | None, values.GIVEN] = None
    """Whether positions of one symbol stand side by side, are netted, or are spread bets."""
    totalMarginCalculationType: Annotated[Literal["MAX", "SUM", "NET"] | None, values.GIVEN] = None
    """How the margin of opposite positions adds up."""
    accessRights: Annotated[Literal["FULL_ACCESS", "CLOSE_ONLY", "NO_TRADING", "NO_LOGIN"] | None, values.GIVEN] = None
    """What the holder may do."""
    swapFree: Annotated[bool | None, values.GIVEN] = None
    """True: a commission on rollover instead of swaps."""
    isLimitedRisk: Annotated[bool | None, values.GIVEN] = None
    """Whether stop losses are guaranteed."""
    sendOwnStatement: Annotated[bool | None, values.GIVEN] = None
    """Whether the holder gets a daily statement."""
    sendStatementToBroker: Annotated[bool | None, values.GIVEN] = None
    """Whether the broker gets a daily statement."""
    introducingBroker1: Annotated[values.Text | None, values.GIVEN] = None
    """The label of the partner who brought the holder."""
    introducingBroker2: Annotated[values.Text | None, values.GIVEN] = None
    """The label of the partner's own partner."""


def _account_defaults(value: object) -> Mapping[str, int | str]:
    return MappingProxyType(CTraderAccountDefaults.model_validate(value).model_dump(exclude_unset=True))


class CTraderSettings(PlatformSettings):
    """One environment of a broker's cTrader, read and written through its WebServices."""

    PULLS = CTraderPullSettings

    kind: Literal["ctrader"]
    """`ctrader`: cTrader's WebServices."""
    manager_login: values.Positive
    """The number of a Manager who sees every group and every white label to be mirrored; `password` is its password."""
    broker_name: values.Text
    """The white label that new accounts and users belong to (`brokerName`), as cTrader spells it."""
    environment_name: values.EnvironmentName
    """The environment that `base_url` leads to: `live`, `demo`, or another such as `live2`."""
    rate_limit: CTraderRateLimitSettings = Field(default_factory=CTraderRateLimitSettings)
    """What may be asked of the platform, over all replicas together."""
    pull: Annotated[
        Mapping[str, Interval],
        PlainValidator(_pull, json_schema_input_type=CTraderPullSettings),
        PlainSerializer(dumped),
    ] = Field(default_factory=lambda: _pull({}))
    """The interval of each resource that is pulled, and of the sweep; what is `off` is absent."""
    account_defaults: Annotated[
        Mapping[str, int | str],
        PlainValidator(_account_defaults, json_schema_input_type=CTraderAccountDefaults),
        PlainSerializer(dict),
    ] = Field(default_factory=lambda: _account_defaults({}))
    """What a new account gets where the CRM says nothing; what is not given is absent."""
