"""Every table, as SQLAlchemy metadata: what the migrations must produce, and what the queries are built from."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from counterfoil.domain.records import TABLES, Column, Kind, Table
from counterfoil.store import ledger_index

metadata = sa.MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)

SQL_TYPES: dict[Kind, sa.types.TypeEngine[Any]] = {
    Kind.INTEGER: sa.BigInteger(),
    Kind.NUMBER: sa.Numeric(),
    Kind.TEXT: sa.Text(),
    Kind.BOOLEAN: sa.Boolean(),
    Kind.TIMESTAMP: sa.DateTime(timezone=True),
    Kind.DATE: sa.Date(),
    Kind.JSON: JSONB(none_as_null=True),
}

_TIME = SQL_TYPES[Kind.TIMESTAMP]
_NOW = sa.text("now()")
_LEDGER = ("deals", "account_id")  # an index that holds more, see store.ledger_index

# Numbers are drawn from one sequence for the whole mirror; see store.bulk for the lock that keeps them in commit order.
VERSIONS = sa.Sequence("version", schema="mirror", metadata=metadata)


def _mirror_column(column: Column) -> "sa.Column[object]":
    return sa.Column(column.name, SQL_TYPES[column.kind], comment=column.comment)


def _mirror_table(table: Table) -> sa.Table:
    built = sa.Table(
        table.name,
        metadata,
        sa.Column(
            "platform", sa.Text, primary_key=True, comment="Name of the platform in the configuration; never null"
        ),
        sa.Column(
            "id", sa.BigInteger, primary_key=True, autoincrement=False, comment="The platform's own id; never null"
        ),
        *map(_mirror_column, table.columns),
        sa.Column("extra", JSONB, comment="Fields sent that have no column, as sent; null: there were none"),
        sa.Column(
            "first_seen_at",
            _TIME,
            nullable=False,
            server_default=_NOW,
            comment="When the mirror first saw the row; never null",
        ),
        sa.Column(
            "changed_at",
            _TIME,
            nullable=False,
            server_default=_NOW,
            comment="When the mirror last changed the row; never null",
        ),
        sa.Column("deleted_at", _TIME, comment="When the platform was found to have it no longer; null: it is there"),
        sa.Column(
            "version",
            sa.BigInteger,
            nullable=False,
            comment="Grows with each change of any row of the mirror; never null",
        ),
        schema="mirror",
        comment=table.comment,
    )
    for name in table.indexes:
        if (table.name, name) != _LEDGER:
            key = (built.c.version,) if name == "version" else (built.c.platform, built.c[name])
            sa.Index(None, *key)
    return built


MIRROR: dict[str, sa.Table] = {name: _mirror_table(table) for name, table in TABLES.items()}

sa.Index(
    ledger_index.NAME,
    *(MIRROR["deals"].c[_name] for _name in ledger_index.KEY),
    postgresql_include=ledger_index.INCLUDED,
)

# What is live on the platform: read at every poll of the open listing, a handful of rows among millions.
sa.Index(
    "positions_open_idx",
    MIRROR["positions"].c.platform,
    MIRROR["positions"].c.id,
    postgresql_where=sa.text("status IS DISTINCT FROM 2 AND deleted_at IS NULL"),
)
sa.Index(
    "positions_open_account_idx",
    MIRROR["positions"].c.platform,
    MIRROR["positions"].c.account_id,
    postgresql_where=sa.text("status IS DISTINCT FROM 2 AND deleted_at IS NULL"),
)
sa.Index(
    "orders_live_idx",
    MIRROR["orders"].c.platform,
    MIRROR["orders"].c.id,
    postgresql_where=sa.text("(status IS NULL OR status NOT IN (3, 4, 5, 6)) AND deleted_at IS NULL"),
)

# Rows that wait for the name of their symbol: next to none, and looked for whenever a symbol is new.
for _name in ("orders", "positions", "deals"):
    sa.Index(
        f"{_name}_unnamed_idx",
        MIRROR[_name].c.platform,
        MIRROR[_name].c.symbol_id,
        postgresql_where=sa.text("symbol IS NULL AND symbol_id <> 0"),
    )

# What the write path looks for before it writes, and after an answer was lost.
sa.Index("accounts_username_idx", sa.text("lower(username)"), _table=MIRROR["accounts"])
sa.Index(
    "accounts_marker_idx",
    MIRROR["accounts"].c.platform,
    sa.text('"right"(description, 31)'),
    postgresql_where=sa.text("description IS NOT NULL"),
)
sa.Index(
    "clients_external_id_idx",
    MIRROR["clients"].c.platform,
    MIRROR["clients"].c.external_id,
    postgresql_where=sa.text("external_id <> ''::text"),
)
sa.Index(
    "transactions_reference_idx",
    MIRROR["transactions"].c.platform,
    MIRROR["transactions"].c.reference,
    postgresql_where=sa.text("reference IS NOT NULL"),
)

_PLATFORM = "Name of the platform in the configuration; never null"
_RESOURCE = "Kind of record pulled: accounts, deals …; never null"


def _own(name: str, *columns: "sa.schema.SchemaItem", comment: str, unlogged: bool = False) -> sa.Table:
    prefixes = ["UNLOGGED"] if unlogged else []
    return sa.Table(name, metadata, *columns, schema="counterfoil", comment=comment, prefixes=prefixes)


def _key(name: str, comment: str, kind: type[sa.types.TypeEngine[object]] = sa.Text) -> "sa.Column[object]":  # type: ignore[assignment]
    return sa.Column(name, kind, primary_key=True, autoincrement=False, comment=comment)


CURSORS = _own(
    "cursors",
    _key("platform", _PLATFORM),
    _key("resource", _RESOURCE),
    sa.Column("state", JSONB, nullable=False, comment="How far the pull has come, see domain.cursor; never null"),
    sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now(), comment="Last move; never null"),
    comment="How far each pull has come; moves in the transaction that writes the rows",
)

LEASES = _own(
    "leases",
    _key("platform", _PLATFORM),
    _key("resource", _RESOURCE),
    sa.Column("token", UUID(as_uuid=True), nullable=False, comment="Proof of holding, kept after release; never null"),
    sa.Column("previous", UUID(as_uuid=True), comment="The token before this one; null: there was none"),
    sa.Column("holder", sa.Text, nullable=False, comment="Host and process of the newest holder; never null"),
    sa.Column("expires_at", _TIME, comment="When the lease lapses unless renewed; null: released"),
    sa.Column("started_at", _TIME, nullable=False, comment="When it was last acquired; never null"),
    comment="Who does which work now. A crash of PostgreSQL empties it: whoever held a lease has lost it",
    unlogged=True,
)

FRESHNESS = _own(
    "freshness",
    _key("platform", _PLATFORM),
    _key("resource", _RESOURCE),
    sa.Column("succeeded_at", _TIME, comment="End of the newest complete run; null: none yet"),
    sa.Column(
        "as_of",
        _TIME,
        comment="Start of the newest complete run: the mirror shows that moment or a later one; null: none",
    ),
    sa.Column(
        "shows_at",
        _TIME,
        comment="The moment that the mirror shows where that is earlier than as_of: transactions are asked for by what"
        " accounts had shown; null: not known, then as_of",
    ),
    sa.Column(
        "busy_at",
        _TIME,
        comment="Start of the newest run that found a change, end of a failed one, or when events were last relied on"
        " at a run: the longer ago, the less often it is pulled; null: not known yet",
    ),
    sa.Column("failed_at", _TIME, comment="End of the newest failed run; null: none, or a complete one came after it"),
    sa.Column("failures", sa.Integer, nullable=False, comment="Failed runs since the newest complete one; never null"),
    sa.Column("reason", sa.Text, comment="Why the newest run failed; null: it did not"),
    comment="Freshness per resource; lost in a crash of PostgreSQL and soon known again",
    unlogged=True,
)

BUDGETS = _own(
    "budgets",
    _key("platform", _PLATFORM),
    sa.Column("next_at", _TIME, nullable=False, comment="When the bucket would be full again; never null"),
    sa.Column("paused_until", _TIME, comment="No request before; null: not paused"),
    sa.Column("failures", sa.Integer, nullable=False, comment="Failed requests in a row; never null"),
    sa.Column("reason", sa.Text, comment="Why it is paused or the newest request failed; null: neither"),
    sa.Column(
        "waiting", sa.Integer, comment="The most urgent priority that waits, see domain.priority; null: none does"
    ),
    sa.Column("waiting_until", _TIME, comment="When `waiting` is out of date; null: none ever waited"),
    comment="One token bucket and one breaker per platform, shared by all replicas",
    unlogged=True,
)

SLOTS = _own(
    "slots",
    _key("platform", _PLATFORM),
    _key("slot", "Number of the slot, from 1; never null", sa.Integer),  # type: ignore[arg-type]
    sa.Column("token", UUID(as_uuid=True), comment="The request that holds it; null: free"),
    sa.Column("expires_at", _TIME, comment="When a holder that died has surely stopped; null: free"),
    comment="Requests under way, counted over all replicas",
    unlogged=True,
)

SESSIONS = _own(
    "sessions",
    _key("platform", _PLATFORM),
    sa.Column(
        "sealed", sa.LargeBinary, nullable=False, comment="The session, sealed with crm.encryption_key; never null"
    ),
    sa.Column("expires_at", _TIME, nullable=False, comment="When the platform forgets it; never null"),
    comment="One login session per platform, shared by all replicas",
)

QUARANTINE = _own(
    "quarantine",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="Never null"),
    sa.Column("platform", sa.Text, nullable=False, comment=_PLATFORM),
    sa.Column("resource", sa.Text, nullable=False, comment=_RESOURCE),
    sa.Column("record_id", sa.Text, comment="The record's id as sent; null: it had none that could be read"),
    sa.Column("reason", sa.Text, nullable=False, comment="What is wrong with it; never null"),
    sa.Column(
        "body", sa.Text, nullable=False, comment="The record as sent, passwords removed, at most 64 KiB; never null"
    ),
    sa.Column(
        "fingerprint", sa.Text, nullable=False, comment="Hash of the body: the same record is kept once; never null"
    ),
    sa.Column("seen_at", _TIME, nullable=False, server_default=sa.func.now(), comment="When it first came; never null"),
    sa.UniqueConstraint("platform", "resource", "fingerprint"),
    comment="Records that could not be read; the rest of their page was kept",
)

VANISHED = _own(
    "vanished",
    _key("platform", _PLATFORM),
    _key("resource", "Table of the mirror; never null"),
    _key("id", "Id of the mirror's row; never null", sa.BigInteger),  # type: ignore[arg-type]
    _key("noticed_by", "The run that missed it: the resource of its lease; never null"),
    sa.Column("noticed_at", _TIME, nullable=False, server_default=sa.func.now(), comment="First missed; never null"),
    sa.Column(
        "looks",
        sa.Integer,
        nullable=False,
        comment="Listings that lacked it, or look-ups without an answer; never null",
    ),
    sa.Column(
        "state",
        sa.Text,
        nullable=False,
        comment="missed: being looked for; held: too many at once, a person decides; settled: known to be closed; never null",
    ),
    comment="Rows that a complete listing lacked and that are not declared deleted yet",
)

ASKED = _own(
    "asked",
    _key("platform", _PLATFORM),
    _key("account_id", "accounts.id; never null", sa.BigInteger),  # type: ignore[arg-type]
    sa.Column(
        "balance",
        sa.Numeric,
        comment="The account's balance when asked, or since explained by deals, account currency; null: was null, or is to be asked again",
    ),
    sa.Column("credit", sa.Numeric, comment="The account's credit when asked, account currency; null: was null"),
    sa.Column("asked_at", _TIME, nullable=False, comment="When its transactions were last read; never null"),
    comment="When each account's transactions were last read, and what its balance was then",
)

WRITES = _own(
    "writes",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="Never null"),
    sa.Column("platform", sa.Text, nullable=False, comment=_PLATFORM),
    sa.Column(
        "at", _TIME, nullable=False, server_default=sa.func.clock_timestamp(), comment="When it was allowed; never null"
    ),
    sa.Index("writes_platform_at_idx", "platform", "at"),
    comment="Requests that may have changed something, of the last hour, where a platform limits them by the hour",
)

UNEXPLAINED = _own(
    "unexplained",
    _key("platform", _PLATFORM),
    _key("account_id", "accounts.id; never null", sa.BigInteger),  # type: ignore[arg-type]
    _key("side", "2 balance, 3 credit; never null", sa.Integer),  # type: ignore[arg-type]
    sa.Column(
        "amount",
        sa.Numeric,
        nullable=False,
        comment="Account currency; by how much it moved more than is known; never null",
    ),
    sa.Column(
        "noticed_at", _TIME, nullable=False, server_default=sa.func.clock_timestamp(), comment="When; never null"
    ),
    comment="Money that nothing explains yet; when fresh readings agree it becomes an inferred transaction",
)

INFERRED_IDS = sa.Sequence("inferred_id", schema="counterfoil", metadata=metadata)
