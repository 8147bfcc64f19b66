"""What a person decides at the desk: one transaction each, the request's row locked, the decision and its reason kept beside it."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.intent import Kind, State
from counterfoil.store import Refused, bindings, identity
from counterfoil.store.desk import BOOKED_REFERENCE, OF_REFERENCE
from counterfoil.store.engine import transaction

# Evidence under which nobody can say that a second attempt would be the only one, and a person may answer for it.
_UNPROVEN = frozenset({"absent", "unclear", "doubtful"})
_INWARD = frozenset({Kind.DEPOSIT, Kind.REFUND, Kind.CREDIT_IN})

# The order of store.desk: account or operation, its updates, then the registrant of that name. Locked until we commit.
_LOCKED = sa.text(f"""
    SELECT i.id, i.kind, i.reference, i.registrant_id, i.platform, i.account_reference, i.state, i.previous_state, i.amount,
        i.wish, i.evidence, i.attempts, i.probe_first, i.probed_at, i.idempotency_reference
    FROM counterfoil.intents i WHERE {OF_REFERENCE}
    ORDER BY i.kind IN ('client', 'update_client'), i.kind IN ('update_client', 'update_account', 'reset_password'), i.id
    FOR UPDATE
""")
_DECIDED = sa.text("""
    INSERT INTO counterfoil.decisions (subject, decision, reason, person)
    VALUES (:subject, :decision, :reason, session_user || ' (' || CAST(:person AS text) || ')')
""")
_CONFIRM = sa.text("""
    UPDATE counterfoil.intents SET state = 'confirmed', reason = NULL, lease_until = NULL,
        record_id = coalesce(:record_id, record_id)
    WHERE id = :id
""")
# It is looked for once more before it is sent, where a look can find it: hours may lie between the last one and the person.
_RETRY = sa.text("""
    UPDATE counterfoil.intents SET state = 'pending', reason = 'a person let it be tried again', lease_until = NULL,
        due_at = clock_timestamp(), looks = 0, failures = 0, probe_first = probe_first OR :look_first, waived = :waived
    WHERE id = :id
""")
_CANCEL = sa.text("""
    UPDATE counterfoil.intents SET state = 'cancelled', reason = 'cancelled by a person', lease_until = NULL WHERE id = :id
""")
_BOOKED = sa.text(f"""
    SELECT t.id FROM mirror.transactions t
    WHERE t.platform = :platform AND t.deleted_at IS NULL AND ({BOOKED_REFERENCE}) = :idempotency_reference ORDER BY t.id LIMIT 1
""")
_RECORD = sa.text(f"""
    SELECT t.account_id, t.amount, {BOOKED_REFERENCE} AS reference FROM mirror.transactions t
    WHERE t.platform = :platform AND t.id = :record_id AND t.deleted_at IS NULL
""")
_OWNER = sa.text("""
    SELECT reference FROM counterfoil.intents
    WHERE platform = :platform AND record_id = :record_id AND id <> :id AND amount IS NOT NULL AND state = 'confirmed' LIMIT 1
""")
_ACCOUNT_ID = sa.text("SELECT account_id FROM counterfoil.accounts WHERE reference = :reference")
_MIRRORED_CLIENT = sa.text("SELECT external_id FROM mirror.clients WHERE platform = :platform AND id = :record_id")
_NAME_CLIENT = sa.text("UPDATE counterfoil.registrants SET client_id = :record_id WHERE registrant_id = :registrant_id")
_MIRRORED_ACCOUNT = sa.text("""
    SELECT m.client_id, m.username, coalesce(m.currency, g.currency) AS currency,
        coalesce(m.currency_digits, g.currency_digits) AS digits,
        (SELECT r.client_id FROM counterfoil.registrants r WHERE r.registrant_id = :registrant_id) AS owner,
        NOT EXISTS (SELECT FROM counterfoil.published_platforms k WHERE k.platform = :platform AND k.kind = 'ctrader')
            AS tells_owners
    FROM mirror.accounts m LEFT JOIN mirror.groups g ON g.platform = m.platform AND g.id = m.group_id
    WHERE m.platform = :platform AND m.id = :record_id AND m.deleted_at IS NULL
""")
_NAME_ACCOUNT = sa.text("""
    UPDATE counterfoil.accounts SET account_id = :record_id, username = coalesce(username, :username), currency = :currency,
        currency_digits = :digits
    WHERE reference = :reference
""")
_REFUNDED = sa.text("""
    UPDATE counterfoil.payouts SET state = 'refunded' WHERE reference = :reference AND state = 'refunding' RETURNING true
""")
_RESUME = sa.text(
    "UPDATE counterfoil.platform_state SET paused = NULL WHERE platform = :platform AND paused IS NOT NULL RETURNING true"
)
_BOUND = sa.text(
    "SELECT bound_at IS NOT NULL FROM counterfoil.platform_state WHERE platform = :platform FOR NO KEY UPDATE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided, once it is committed."""

    id: int
    kind: Kind
    reference: str
    platform: str | None
    before: State
    after: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """Why, in the person's words, and who: the operating-system user; the database's own role is noted beside it."""

    reason: str
    person: str


async def confirm(engine: AsyncEngine, reference: str, record_id: int | None, because: Because) -> Decided:
    """It is there on the platform, under this id where it is known.

    Raises:
        ConfigurationError: it cannot be decided so; the line says what may be done.
    """
    async with _deciding(engine, reference, "confirm", because) as (connection, row):
        if row["kind"] == Kind.REFUND and row["state"] == State.REJECTED:
            return await _given_back_by_hand(connection, row, record_id)
        _require_parked(row, "confirmed")
        if row["kind"] in (Kind.CLIENT, Kind.ACCOUNT, Kind.ADOPT):
            await _name_record(connection, row, record_id)
        elif row["amount"] is not None and record_id is not None:
            await _require_own_record(connection, row, record_id)
        await connection.execute(_CONFIRM, {"id": row["id"], "record_id": record_id})
        return _decided(row, State.CONFIRMED)


async def _given_back_by_hand(connection: AsyncConnection, row: Mapping[str, Any], record_id: int | None) -> Decided:
    """The platform refused the refund, and a person has booked it there: the request stays rejected, the payout is refunded."""
    if record_id is None:
        raise ConfigurationError(
            f"{_named(row)}: say which record of the platform gave the money back, with --record ID"
        )
    await _require_own_record(connection, {**row, "idempotency_reference": None}, record_id)
    if not await connection.scalar(_REFUNDED, {"reference": row["wish"]["payout"]}):
        raise ConfigurationError(f"{_named(row)}: its payout is refunded already")
    return _decided(row, State.REJECTED)


async def retry(
    engine: AsyncEngine, reference: str, because: Because, *, even_though_unproven: bool = False
) -> Decided:
    """It is not there, and is sent again.

    Raises:
        ConfigurationError: it cannot be decided so; the line says what may be done.
    """
    async with _deciding(engine, reference, "retry", because) as (connection, row):
        _require_parked(row, "tried again")
        finding = (row["evidence"] or {}).get("finding")
        if row["amount"] is not None:
            await _require_absent(connection, row, even_though_unproven=even_though_unproven)
        await connection.execute(
            _RETRY,
            {
                "id": row["id"],
                "look_first": row["amount"] is not None and finding == "absent",
                "waived": even_though_unproven,
            },
        )
        return _decided(row, State.PENDING)


async def cancel(engine: AsyncEngine, reference: str, because: Because) -> Decided:
    """It is given up, with everything that waits behind it.

    Raises:
        ConfigurationError: it cannot be decided so; the line says what may be done.
    """
    async with _deciding(engine, reference, "cancel", because) as (connection, row):
        if row["state"] not in (State.PARKED, State.WAITING, State.PENDING):
            raise ConfigurationError(f"{_named(row)} cannot be cancelled: {_instead(row['state'])}")
        if row["kind"] == Kind.REFUND:
            raise ConfigurationError(
                f"{_named(row)} is a refund: without it the trader's money is gone. Give it back by hand on the platform, then "
                "confirm it with --record"
            )
        if row["state"] != State.PARKED and row["amount"] is not None and row["probe_first"]:
            _require_looked_for(row)
        await connection.execute(_CANCEL, {"id": row["id"]})
        return _decided(row, State.CANCELLED)


async def resume(engine: AsyncEngine, platform: str, because: Because) -> None:
    """Let a platform be written to again.

    Raises:
        ConfigurationError: it is not paused.
    """
    async with transaction(engine) as connection:
        if not await connection.scalar(_RESUME, {"platform": platform}):
            raise ConfigurationError(f"platform {platform} is not paused: see counterfoil status for what stands still")
        await _note(connection, platform, "resume", because)


async def rebind(engine: AsyncEngine, platform: str, because: Because) -> None:
    """The platform's name means another server from the next login on.

    Raises:
        ConfigurationError: the name is not bound to any.
    """
    async with transaction(engine) as connection:
        if not await connection.scalar(_BOUND, {"platform": platform}):
            raise ConfigurationError(f"platform {platform} is not bound to a server: the next login binds it by itself")
        await bindings.unbind_within(connection, platform)
        await _note(connection, platform, "rebind", because)


async def accept_restore(engine: AsyncEngine, because: Because, *, payouts_checked: bool = False) -> None:
    """The restored or failed-over database is the one to go on with.

    Raises:
        ConfigurationError: it is not held, or something has not been looked for yet.
    """
    async with transaction(engine) as connection:
        if not await identity.accept_within(connection, payouts_checked=payouts_checked):
            raise ConfigurationError(
                "the database is not held: nothing is to be agreed to; when it was restored just now, let the daemon run first"
            )
        await _note(connection, "database", "accept-restore", because)


@asynccontextmanager
async def _deciding(
    engine: AsyncEngine, reference: str, decision: str, because: Because
) -> AsyncIterator[tuple[AsyncConnection, Mapping[str, Any]]]:
    """The locked request that the reference means; what is done to it inside is committed with the decision."""
    try:
        async with transaction(engine) as connection:
            rows = [dict(row) for row in (await connection.execute(_LOCKED, {"reference": reference})).mappings()]
            if not rows:
                raise ConfigurationError(f"{reference} is not known: counterfoil intents list shows what is under way")
            yield connection, _meant(rows, cancelling=decision == "cancel")
            await _note(connection, reference, decision, because)
    except Refused as error:
        raise ConfigurationError(
            f"{reference}: the database refuses it, {_constraint(error)}: see counterfoil intents show {reference}"
        ) from error


def _meant(rows: Sequence[Mapping[str, Any]], *, cancelling: bool) -> Mapping[str, Any]:
    """What is parked comes first; else, to be cancelled, what has not been sent, of the first namespace alone."""
    for row in rows:
        if row["state"] == State.PARKED:
            return row
    of_person = rows[0]["kind"] in (Kind.CLIENT, Kind.UPDATE_CLIENT)
    for row in rows if cancelling else ():
        if (
            row["state"] in (State.WAITING, State.PENDING)
            and (row["kind"] in (Kind.CLIENT, Kind.UPDATE_CLIENT)) == of_person
        ):
            return row
    # The newest client: an earlier one was rejected.
    same = [row for row in rows if row["kind"] == rows[0]["kind"]]
    return same[-1]


async def _note(connection: AsyncConnection, subject: str, decision: str, because: Because) -> None:
    given = {"subject": subject, "decision": decision, "reason": because.reason, "person": because.person}
    await connection.execute(_DECIDED, given)


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['kind'].replace('_', ' ')} {row['reference']}"


def _require_parked(row: Mapping[str, Any], wanted: str) -> None:
    if row["state"] != State.PARKED:
        raise ConfigurationError(
            f"{_named(row)} is {row['state']} and cannot be {wanted}: {_instead(State(row['state']))}"
        )


def _instead(state: State) -> str:
    """What may be done about a request in a state that cannot be decided on."""
    match state:
        case State.WAITING | State.PENDING:
            return "it goes on by itself, and may be cancelled"
        case State.SENT | State.UNKNOWN:
            return (
                f"it is {state}, the daemon finds out what became of it; wait until it is confirmed, pending or parked"
            )
        case _:
            return f"it is {state}, and that is final"


async def _require_absent(connection: AsyncConnection, row: Mapping[str, Any], *, even_though_unproven: bool) -> None:
    """Money is sent again only where nothing speaks for its being there: it may be executed twice."""
    given = {"platform": row["platform"], "idempotency_reference": row["idempotency_reference"]}
    booked = await connection.scalar(_BOOKED, given)
    if booked is not None:
        raise ConfigurationError(
            f"{_named(row)} stands in the platform's books, transaction {booked}: tried again it would be executed twice; "
            "confirm it, or cancel it when it was reversed there"
        )
    evidence = row["evidence"]
    if evidence is None and row["previous_state"] == State.SENT:
        # Parked because nothing could be sent: there is no first time.
        return
    finding = (evidence or {}).get("finding", "unclear" if evidence is None else None)
    if finding not in _UNPROVEN:
        raise ConfigurationError(
            f"{_named(row)} was executed, its evidence says so: tried again it may be executed twice; confirm it, or cancel it "
            "when it was reversed on the platform"
        )
    if not even_though_unproven:
        raise ConfigurationError(
            f"{_named(row)} is not proven absent: tried again it may be executed twice; look at the platform's own books, then "
            "confirm it or repeat this with --even-though-unproven"
        )


def _require_looked_for(row: Mapping[str, Any]) -> None:
    """What a restored database holds as never sent may have been."""
    if row["probed_at"] is None:
        raise ConfigurationError(
            f"{_named(row)} may have been sent before the database was restored: let the daemon look for it first"
        )
    if (row["evidence"] or {}).get("finding") != "absent":
        raise ConfigurationError(f"{_named(row)} was not found absent on the platform: let the daemon settle it")


async def _require_own_record(connection: AsyncConnection, row: Mapping[str, Any], record_id: int) -> None:
    """A record that the mirror knows must be what was asked for, and nobody else's."""
    given = {"platform": row["platform"], "record_id": record_id, "id": row["id"]}
    if (owner := await connection.scalar(_OWNER, given)) is not None:
        raise ConfigurationError(f"--record {record_id} belongs to {owner} already")
    found = (await connection.execute(_RECORD, given)).one_or_none()
    if found is None:
        return
    account_id = await connection.scalar(_ACCOUNT_ID, {"reference": row["account_reference"]})
    expected = row["amount"] if row["kind"] in _INWARD else -row["amount"]
    if found.reference not in (None, row["idempotency_reference"]):
        raise ConfigurationError(f"--record {record_id} carries another reference, {found.reference}")
    if (found.account_id, found.amount) != (account_id, expected):
        raise ConfigurationError(
            f"--record {record_id} is {found.amount:f} on account {found.account_id}, not {expected:f} on {account_id}"
        )


async def _name_record(connection: AsyncConnection, row: Mapping[str, Any], record_id: int | None) -> None:
    if record_id is None:
        raise ConfigurationError(f"{_named(row)}: say which record of the platform it is, with --record ID")
    given = {"platform": row["platform"], "registrant_id": row["registrant_id"], "record_id": record_id}
    if row["kind"] == Kind.CLIENT:
        external_id = await connection.scalar(_MIRRORED_CLIENT, given)
        if external_id not in (None, "", row["registrant_id"]):
            raise ConfigurationError(f"client {record_id} carries another external_id: it is another registrant's")
        await connection.execute(_NAME_CLIENT, given)
        return
    if row["kind"] == Kind.ADOPT and row["wish"].get("account_id") != record_id:
        raise ConfigurationError(f"{_named(row)} asks for account {row['wish'].get('account_id')}, not for {record_id}")
    found = (await connection.execute(_MIRRORED_ACCOUNT, given)).mappings().one_or_none()
    if found is None:
        raise ConfigurationError(
            f"account {record_id} is not in the mirror of {row['platform']}: its currency is not known; run counterfoil sync "
            "--resource accounts first, or confirm it later"
        )
    # Where the platform tells no owners, one is known only of accounts that we linked.
    owned = found["tells_owners"] or found["client_id"] is not None
    if owned and found["client_id"] != found["owner"]:
        raise ConfigurationError(
            f"account {record_id} belongs to client {found['client_id']}, not to {found['owner']} of {row['registrant_id']}"
        )
    await connection.execute(_NAME_ACCOUNT, {**given, **found, "reference": row["account_reference"]})


def _constraint(error: Refused) -> str:
    said = re.search(r'constraint "(\w+)"', str(error.orig))
    return f"by {said[1]}" if said else "because something else changed meanwhile"


def _decided(row: Mapping[str, Any], after: State) -> Decided:
    return Decided(
        id=row["id"],
        kind=Kind(row["kind"]),
        reference=row["reference"],
        platform=row["platform"],
        before=State(row["state"]),
        after=after,
    )
