"""cTrader: its columns and tables, the link between account and client, limits by the hour, money that nothing explains."""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"
NOT_SENT = "; null: not sent by the platform"

# Name, type, meaning.
COLUMNS = {
    "accounts": """
        group_name                text        cTrader: groups.name
        description               text        cTrader: free text; ends in our marker where the account is of our making
        access_rights             text        cTrader: FULL_ACCESS, CLOSE_ONLY, NO_TRADING or NO_LOGIN
        account_type              text        cTrader: HEDGED, NETTED or SPREAD_BETTING
        margin_calculation        text        cTrader: MAX, SUM or NET
        broker_name               text        cTrader: white label
        bonus                     numeric     cTrader: account currency; the ledger of the bonus call, apart from credit
        cash_equity               numeric     cTrader: account currency; what may be withdrawn
        leverage_in_cents         bigint      cTrader: 100 times 1:x, exact; leverage holds whole 1:x
        max_leverage_in_cents     bigint      cTrader: 100 times 1:x
        swap_free                 boolean     cTrader: rollover commission instead of swaps
        limited_risk              boolean     cTrader: guaranteed stop losses
        limited_risk_strategy     text        cTrader: how margin follows from leverage and guaranteed stop losses
        send_own_statement        boolean     cTrader: daily statement to the trader
        send_statement_to_broker  boolean     cTrader: daily statement to the broker
        document_id               text        cTrader: number of an identity document
        country_id                bigint      cTrader: ISO 3166-1 numeric
        introducing_broker_1      text        cTrader: label of the first partner
        introducing_broker_2      text        cTrader: label of the second partner
        min_equity_daily          numeric     cTrader: account currency; since 00:00 UTC
        max_equity_daily          numeric     cTrader: account currency; since 00:00 UTC
        last_connection_at        timestamptz cTrader: last connection; null: none yet, or not sent
    """,
    "deals": """
        commission_usd            numeric     cTrader: US dollars; contained in profit
        swap_usd                  numeric     cTrader: US dollars; contained in profit
        deposit_conversion_rate   numeric     cTrader: base asset to account currency
        usd_conversion_rate       numeric     cTrader: base asset to US dollars
        opened_at                 timestamptz cTrader: when the position was opened
        book_type                 text        cTrader: BOOK_A or BOOK_B
        stake                     numeric     cTrader: account currency; of spread betting
        spread_betting            boolean     cTrader: whether it was a bet
    """,
    "groups": """
        name                      text        cTrader: name of the group, by which accounts are put into it
    """,
    "positions": """
        commission_usd            numeric     cTrader: US dollars
        swaps_usd                 numeric     cTrader: US dollars
        margin_used               numeric     cTrader: account currency
        book_type                 text        cTrader: BOOK_A or BOOK_B
        stake                     numeric     cTrader: account currency; of spread betting
        spread_betting            boolean     cTrader: whether it is a bet
    """,
    "symbols": """
        asset_class               text        cTrader: asset class by name; OMTrader has symbol_class
        category                  text        cTrader: category by name
        quotes_enabled            boolean     cTrader: whether it is quoted
        show_in_ctrader           boolean     cTrader: whether traders see it
    """,
}
TYPES = {
    "text": sa.Text(),
    "numeric": sa.Numeric(),
    "boolean": sa.Boolean(),
    "bigint": sa.BigInteger(),
    "timestamptz": sa.DateTime(timezone=True),
}
# What kinds of intent share a lane, before and after.
LANE = """
    CASE WHEN kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out') THEN 'money ' || account_reference
    WHEN kind IN ({opening}) THEN 'account ' || account_reference
    WHEN kind IN ('update_account', 'reset_password') THEN 'update ' || account_reference
    ELSE 'client ' || registrant_id END
"""
# Functions and views of the revision before that are replaced here.
REPLACED = (
    *("counterfoil.noun", "counterfoil.guard_intent", "counterfoil.require_value", "counterfoil.plan_account"),
    *("counterfoil.plan_operation", "counterfoil.choose_platform", "counterfoil.reset_password"),
)
VIEWS = ("registrants", "accounts", "operations")


def _statements(name: str) -> list[str]:
    """The statements of a file of SQL: each ends with a semicolon before an empty line."""
    return re.split(r";\n\n(?=\S)", (SQL / name).read_text(encoding="utf-8").rstrip().removesuffix(";"))


def _execute(statement: str) -> None:
    # A colon before a name would be a parameter to SQLAlchemy; [:space:] would not, and would keep the backslash.
    op.execute(sa.text(re.sub(r"(?<!:):(?=\w+(?![:\w]))", r"\\:", statement)))


def _columns() -> list[tuple[str, str, str, str]]:
    lines = ((table, line) for table, block in COLUMNS.items() for line in block.strip().splitlines())
    return [(table, *line.split(maxsplit=2)) for table, line in lines]  # type: ignore[misc]


def upgrade() -> None:
    # fmt: off
    op.create_table("unexplained",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="accounts.id; never null"),
    sa.Column("side", sa.Integer(), autoincrement=False, nullable=False, comment="2 balance, 3 credit; never null"),
    sa.Column("amount", sa.Numeric(), nullable=False, comment="Account currency; by how much it moved more than is known; never null"),
    sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When; never null"),
    sa.PrimaryKeyConstraint("platform", "account_id", "side", name=op.f("unexplained_pkey")),
    schema="counterfoil",
    comment="Money that nothing explains yet; when fresh readings agree it becomes an inferred transaction"
    )
    op.create_table("writes",
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Never null"),
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When it was allowed; never null"),
    sa.PrimaryKeyConstraint("id", name=op.f("writes_pkey")),
    schema="counterfoil",
    comment="Requests that may have changed something, of the last hour, where a platform limits them by the hour"
    )
    op.create_index("writes_platform_at_idx", "writes", ["platform", "at"], unique=False, schema="counterfoil")
    op.create_table("deposit_assets",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("name", sa.Text(), nullable=True, comment="cTrader: currency in which accounts may be held; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("deposit_assets_pkey")),
    schema="mirror",
    comment="Currencies of accounts; ids are ours, made from the name; cTrader only"
    )
    op.create_index(op.f("deposit_assets_version_idx"), "deposit_assets", ["version"], unique=False, schema="mirror")
    op.create_table("subaccounts",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("account_id", sa.BigInteger(), nullable=True, comment="cTrader: the owner, accounts.id; the same as id; null: not sent by the platform"),
    sa.Column("logins", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="cTrader: array of the logins of the copy sub-accounts; null: not sent by the platform"),
    sa.Column("balance", sa.Numeric(), nullable=True, comment="cTrader: account currency of the owner; all sub-accounts together; null: not sent by the platform"),
    sa.Column("equity", sa.Numeric(), nullable=True, comment="cTrader: account currency of the owner; all sub-accounts together; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("subaccounts_pkey")),
    schema="mirror",
    comment="Copy sub-accounts of an account, together; cTrader only"
    )
    op.create_index(op.f("subaccounts_version_idx"), "subaccounts", ["version"], unique=False, schema="mirror")
    # fmt: on
    op.execute(sa.schema.CreateSequence(sa.Sequence("inferred_id", schema="counterfoil")))
    for table, name, kind, meaning in _columns():
        comment = meaning if "null:" in meaning else meaning + NOT_SENT
        op.add_column(table, sa.Column(name, TYPES[kind], nullable=True, comment=comment), schema="mirror")
    op.create_index(
        "accounts_marker_idx",
        "accounts",
        ["platform", sa.literal_column('"right"(description, 31)')],
        schema="mirror",
        postgresql_where=sa.text("description IS NOT NULL"),
    )
    op.create_index(
        "intents_booked_idx",
        "intents",
        ["platform", "confirmed_at"],
        schema="counterfoil",
        postgresql_where=sa.text("amount IS NOT NULL AND state = 'confirmed'"),
    )
    _widen()
    for view in VIEWS:
        op.execute(f"DROP VIEW crm.{view}")
    _set_lane("'account', 'adopt', 'link'")
    op.create_index(
        "intents_link_key",
        "intents",
        ["account_reference"],
        unique=True,
        schema="counterfoil",
        postgresql_where=sa.text("kind = 'link' AND state NOT IN ('rejected', 'cancelled')"),
    )
    for statement in _statements("0003_ctrader.sql"):
        _execute(statement)


def _widen() -> None:
    """What the write path's own tables hold more."""
    op.add_column(
        "platform_state",
        sa.Column(
            "writes_paused_until",
            sa.DateTime(timezone=True),
            comment="No request that changes anything before, the platform says; null: it never said so",
        ),
        schema="counterfoil",
    )
    op.add_column(
        "published_fields",
        sa.Column("choices", postgresql.ARRAY(sa.Text()), comment="The only texts that it may hold; null: any"),
        schema="counterfoil",
    )
    _say("published_fields", "type", "text, integer, number, boolean or date; never null")
    _say("passwords", "name", "user_password, investor_password or password_hash; never null")


def _say(table: str, column: str, comment: str) -> None:
    op.alter_column(table, column, existing_type=sa.Text(), comment=comment, schema="counterfoil")


def _set_lane(opening: str) -> None:
    """A generated column is made anew; its indexes go and come with it."""
    op.drop_column("intents", "lane", schema="counterfoil")
    op.add_column(
        "intents",
        sa.Column(
            "lane",
            sa.Text(),
            sa.Computed(" ".join(LANE.format(opening=opening).split()), persisted=True),
            nullable=False,
            comment="At most one intent of a lane is unsettled, and they go in the order asked; never null",
        ),
        schema="counterfoil",
    )
    open_ones = "state IN ('pending', 'sent', 'unknown', 'parked')"
    op.create_index(
        "intents_lane_idx", "intents", ["lane", "id"], schema="counterfoil", postgresql_where=sa.text(open_ones)
    )
    op.create_index(
        "intents_unsettled_key",
        "intents",
        ["lane"],
        unique=True,
        schema="counterfoil",
        postgresql_where=sa.text("state IN ('sent', 'unknown', 'parked')"),
    )


def downgrade() -> None:
    """Refused by the database where accounts were linked: their history would not fit the rules of before."""
    for view in VIEWS:
        op.execute(f"DROP VIEW crm.{view}")
    op.drop_index("intents_link_key", table_name="intents", schema="counterfoil")
    op.drop_index("intents_booked_idx", table_name="intents", schema="counterfoil")
    _set_lane("'account', 'adopt'")
    op.execute("ALTER TABLE counterfoil.transition_rule DISABLE TRIGGER fixed")
    op.execute("DELETE FROM counterfoil.transition_rule WHERE kind = 'link'")
    op.execute("ALTER TABLE counterfoil.transition_rule ENABLE ALWAYS TRIGGER fixed")
    op.execute("DROP FUNCTION counterfoil.step_before_money(counterfoil.accounts)")
    op.execute("DROP FUNCTION counterfoil.plan_link(counterfoil.intents, text)")
    for statement in (*_statements("0002_order.sql"), *_statements("0002_boundary.sql")):
        made = re.match(r"CREATE (FUNCTION|VIEW) ([a-z_.]+)", statement)
        if made and (made[2] in REPLACED or made[2] in {f"crm.{view}" for view in VIEWS}):
            _execute(statement.replace(f"CREATE {made[1]}", f"CREATE OR REPLACE {made[1]}", 1))
    for view in VIEWS:
        op.execute(f"GRANT SELECT ON crm.{view} TO counterfoil_crm")
    _say("published_fields", "type", "text, integer, number or date; never null")
    _say("passwords", "name", "user_password or investor_password; never null")
    op.execute("DELETE FROM counterfoil.published_fields WHERE type = 'boolean' OR choices IS NOT NULL")
    op.drop_column("published_fields", "choices", schema="counterfoil")
    op.drop_column("platform_state", "writes_paused_until", schema="counterfoil")
    op.drop_index("accounts_marker_idx", table_name="accounts", schema="mirror")
    for table, name, _, _ in _columns():
        op.drop_column(table, name, schema="mirror")
    op.execute("DROP SEQUENCE counterfoil.inferred_id")
    op.execute("DROP TABLE mirror.subaccounts, mirror.deposit_assets, counterfoil.writes, counterfoil.unexplained")
