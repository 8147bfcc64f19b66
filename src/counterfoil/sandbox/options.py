"""What a sandbox can be told before it starts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """How to run a sandbox. `tick`: seconds between trading rounds, None for a market that only moves when told.

    OMTrader alone: `username`, `token_lifetime`, `page_limit`. cTrader alone, all with the defaults of the reference,
    section 11: `manager_login`; `broker` and `environment`, as the manager was told them; `chunk`, the most traders in
    one answer; `writes_per_hour`, None for no limit; `filter_on`, which time the window of closed positions means,
    `close` or `open`; `linked_code`, the error of a second link.
    """

    kind: str = "omtrader"
    host: str = "127.0.0.1"
    port: int = 0
    clients: int = 100
    accounts: int = 200
    deals: int = 2_000
    seed: int = 1
    tick: float | None = None
    faults: Path | None = None
    password: str = "sandbox"  # noqa: S105 - the sandbox's well-known password
    username: str = "crm-api"
    token_lifetime: int = 3_600
    page_limit: int = 1_000
    manager_login: int = 2309
    broker: str = "BESTBROKER"
    environment: str = "live"
    chunk: int = 100_000
    writes_per_hour: int | None = None
    filter_on: str = "close"
    linked_code: str = "CH_TRADER_ACCOUNT_ALREADY_LINKED"
