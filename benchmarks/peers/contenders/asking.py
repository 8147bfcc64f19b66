"""What the contenders' programs have in common: how they are called, the login, and which fields are which."""

import argparse
import base64
import json
import urllib.request
from pathlib import Path

PATHS = {"deals": "/api/v1/trader/deals", "accounts": "/api/v1/manager/accounts"}
PAGE = 1_000
BEGINNING = "2000-01-01T00:00:00.00000Z"
TIMES = ("created_at", "updated_at")
DEAL_TEXTS = ("external_id", "comment")
DEAL_NUMBERS = (
    *("price", "external_volume", "profit", "storage", "commission", "profit_raw", "price_position", "price_sl"),
    *("price_tp", "external_volume_closed", "tick_value", "tick_size", "volume", "closed_volume", "swap", "fee"),
    *("market_bid", "market_ask", "market_last"),
)
DEAL_INTEGERS = (
    *("id", "account_id", "dealer_id", "order_id", "action", "entry", "reason", "digits", "digits_currency"),
    *("contract_size", "symbol_id", "position_id", "side", "direction", "channel"),
)
DEAL_OBJECTS = ("symbol", "account")
ACCOUNT_NUMBERS = (
    *("balance", "credit", "equity", "margin", "margin_free", "margin_level", "margin_initial", "margin_maintenance"),
    *("profit", "floating", "storage", "assets", "liabilities", "blocked_commission", "blocked_profit", "day_profit"),
    *("week_profit", "month_profit", "max_day_loss", "max_day_profit", "max_week_loss", "max_week_profit"),
    *("max_month_loss", "max_month_profit"),
)
ACCOUNT_INTEGERS = (
    *("id", "user_id", "client_id", "group_id", "currency_digits", "margin_leverage", "leverage", "trade_type"),
    "liqudation_status",
)
ACCOUNT_OBJECTS = ("user", "orders", "positions", "deals")
ACCOUNT_FLAGS = ("enable_risk_management",)
ACCOUNT_TEXTS = ("currency",)


def called() -> argparse.Namespace:
    """`resource`, `platform`, `database` (URLs), and `state`, a folder that stays from run to run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("resource", choices=sorted(PATHS))
    parser.add_argument("--platform", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--way", default="")
    return parser.parse_args()


def log_in(platform: str, username: str = "crm-api", password: str = "sandbox") -> str:  # noqa: S107 - the sandbox's own
    """An access token."""
    credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - an address of this machine
        f"{platform}/api/v1/oauth2/login", method="POST", headers={"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return json.load(answer)["data"]["access_token"]
