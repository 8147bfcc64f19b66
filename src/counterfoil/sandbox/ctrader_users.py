"""Users and links of the simulated cTrader server (reference, section 5)."""

from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox import faults as f
from counterfoil.sandbox.calls import Reply
from counterfoil.sandbox.ctrader_answers import INVALID, RIGHTS, WebservError, empty, entity
from counterfoil.sandbox.ctrader_books import CtraderBooks
from counterfoil.sandbox.ctrader_rows import Trader
from counterfoil.sandbox.ctrader_writes import Wishes, brand, given, password_hash, text, whole


def create(books: CtraderBooks, wishes: Wishes, struck: f.Struck) -> Reply:
    """Get or create by e-mail address: the whole user when it is new, only its id when it is known."""
    wishes = given(wishes)
    email, language = text(wishes, "email", required=True), text(wishes, "preferredLanguage") or "EN"
    name, _, domain = email.partition("@")
    if not name or "." not in domain or " " in email:
        raise WebservError(INVALID, "email is no e-mail address")
    if len(language) != 2 or not language.isalpha():
        raise WebservError(INVALID, "preferredLanguage must be two letters")
    brand(books, wishes)
    known = email.lower() in books.users
    user = books.add_user(email, language)
    return entity({"userId": user.id} if known else wire.user_fields(user), struck)


def link(books: CtraderBooks, wishes: Wishes, struck: f.Struck, *, environment: str, linked_code: str) -> Reply:
    """Link an account to a user; the password's hash must be the account's, and no link may exist."""
    wishes = given(wishes)
    sent = password_hash(wishes, "traderPasswordHash")
    user_id, details = whole(wishes, "userId"), wishes.get("returnAccountDetails", False)
    trader = _account(books, wishes, environment)
    if not isinstance(details, bool):
        raise WebservError(INVALID, "returnAccountDetails must be true or false")
    if sent != trader.password_hash:
        raise WebservError("WRONG_PASSWORD", "that is not the trader's password")
    if books.user(user_id) is None:
        raise WebservError(INVALID, f"no user {user_id}")
    if trader.login in books.links:
        raise WebservError(linked_code, "the account is linked already")
    key = books.link(trader.login, user_id)
    return entity({"ctidTraderAccountId": key}, struck) if details else empty(200)


def change_brand(books: CtraderBooks, wishes: Wishes, *, environment: str) -> Reply:
    """Move an account under another white label."""
    wishes = given(wishes)
    name = brand(books, wishes, required=True) or books.broker
    books.change_brand(_login(books, wishes, environment), name)
    return empty()


def _account(books: CtraderBooks, wishes: Wishes, environment: str) -> Trader:
    """The account that a link means: it must be under the white label that is named."""
    name = brand(books, wishes, required=True)
    trader = _login(books, wishes, environment)
    if trader.broker != name:
        raise WebservError(RIGHTS, f"{name} has no access to this account", 403)
    return trader


def _login(books: CtraderBooks, wishes: Wishes, environment: str) -> Trader:
    if text(wishes, "environmentName", required=True) != environment:
        raise WebservError("CH_ENVIRONMENT_NOT_FOUND", "no such environment")
    trader = books.traders.get(whole(wishes, "traderLogin"))
    if trader is None:
        raise WebservError("CH_TRADER_ACCOUNT_NOT_FOUND", "no such account")
    return trader
