"""The write path: what the CRM asks for, in which order it may happen, and the boundary that it is asked through."""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

# Everything of the schema but what the first revision made.
DROP_FUNCTIONS = """
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = 'counterfoil'::regnamespace AND p.proname <> 'take_token' LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', made.name);
    END LOOP;
END $$
"""


def _run(name: str) -> None:
    """Run a file of SQL: a statement ends with a semicolon before an empty line."""
    for statement in re.split(r";\n\n(?=\S)", (SQL / name).read_text(encoding="utf-8").rstrip().removesuffix(";")):
        # A colon before a name would be a parameter to SQLAlchemy; [:space:] would not, and would keep the backslash.
        op.execute(sa.text(re.sub(r"(?<!:):(?=\w+(?![:\w]))", r"\\:", statement)))


def upgrade() -> None:
    # fmt: off
    op.create_table("database_identity",
    sa.Column("one", sa.Boolean(), server_default="true", nullable=False, comment="Always true: there is one row; never null"),
    sa.Column("identity", sa.Text(), nullable=False, comment="System, timeline, database and table that the write path last worked on; never null"),
    sa.Column("held_since", sa.DateTime(timezone=True), nullable=True, comment="When another identity was met: nothing is written until a person agrees; null: all is well"),
    sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True, comment="When a person last agreed that a restored database goes on; null: it never was restored"),
    sa.CheckConstraint("one", name="database_identity_one_row"),
    sa.PrimaryKeyConstraint("one", name=op.f("database_identity_pkey")),
    schema="counterfoil",
    comment="How a restored or failed-over database is told from the one that the write path knows"
    )
    op.create_table("decisions",
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Never null"),
    sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When it was decided; never null"),
    sa.Column("subject", sa.Text(), nullable=False, comment="Reference, platform or database concerned; never null"),
    sa.Column("decision", sa.Text(), nullable=False, comment="confirm, retry, cancel, resume, rebind or accept-restore; never null"),
    sa.Column("reason", sa.Text(), nullable=False, comment="Why, in the person's words; never null"),
    sa.Column("person", sa.Text(), nullable=False, comment="Database role and operating-system user; never null"),
    sa.PrimaryKeyConstraint("id", name=op.f("decisions_pkey")),
    schema="counterfoil",
    comment="What people decided at the operator's desk, and why"
    )
    op.create_table("events",
    sa.Column("entry", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="In the order made; never null"),
    sa.Column("id", sa.BigInteger(), nullable=True, comment="In the order committed, without gaps; null: not numbered yet"),
    sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When it happened; never null"),
    sa.Column("reference", sa.Text(), nullable=False, comment="The CRM's name of what it is about; never null"),
    sa.Column("event", sa.Text(), nullable=False, comment="noun.verb: operation.confirmed, payout.released …; never null"),
    sa.Column("state", sa.Text(), nullable=False, comment="The state that was reached; never null"),
    sa.PrimaryKeyConstraint("entry", name=op.f("events_pkey")),
    sa.UniqueConstraint("id", name=op.f("events_id_key")),
    schema="counterfoil",
    comment="What the CRM is told; crm.events shows the numbered ones"
    )
    op.create_index("events_unnumbered_idx", "events", ["entry"], unique=False, schema="counterfoil", postgresql_where=sa.text("id IS NULL"))
    op.create_table("platform_state",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("kind", sa.Text(), nullable=True, comment="Kind of its API, when it was bound; null: not bound yet"),
    sa.Column("host", sa.Text(), nullable=True, comment="Host and port that the name was bound to; null: not bound yet"),
    sa.Column("manager_id", sa.BigInteger(), nullable=True, comment="The manager's own account there; null: not bound yet"),
    sa.Column("sandbox", sa.Boolean(), nullable=True, comment="Whether it is a simulator; null: not bound yet"),
    sa.Column("bound_at", sa.DateTime(timezone=True), nullable=True, comment="When the first login bound the name; null: not bound yet"),
    sa.Column("paused", sa.Text(), nullable=True, comment="Why nothing is written to it until a person resumes; null: it is not paused"),
    sa.Column("reference_field", sa.Text(), nullable=True, comment="The field that carries our references; null: nothing sent yet"),
    sa.Column("reference_since", sa.DateTime(timezone=True), nullable=True, comment="When that field last changed; null: never"),
    sa.Column("reference_proven_at", sa.DateTime(timezone=True), nullable=True, comment="When one of our references was read back out of it; null: never"),
    sa.PrimaryKeyConstraint("platform", name=op.f("platform_state_pkey")),
    schema="counterfoil",
    comment="What a platform's name was bound to, and whether it may be written to"
    )
    op.create_table("published_fields",
    sa.Column("kind", sa.Text(), nullable=False, comment="Kind of a platform's API; never null"),
    sa.Column("entity", sa.Text(), nullable=False, comment="client or account; never null"),
    sa.Column("name", sa.Text(), nullable=False, comment="Name of the field; never null"),
    sa.Column("type", sa.Text(), nullable=False, comment="text, integer, number or date; never null"),
    sa.Column("lowest", sa.Numeric(), nullable=True, comment="Smallest value; null: any"),
    sa.Column("highest", sa.Numeric(), nullable=True, comment="Largest value; null: any"),
    sa.Column("required", sa.Boolean(), nullable=False, comment="Whether a new one needs it; never null"),
    sa.Column("updatable", sa.Boolean(), nullable=False, comment="Whether it may be changed later; never null"),
    sa.PrimaryKeyConstraint("kind", "entity", "name", name=op.f("published_fields_pkey")),
    schema="counterfoil",
    comment="What a profile and an account may hold, for each kind of platform"
    )
    op.create_table("published_platforms",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("kind", sa.Text(), nullable=False, comment="Kind of its API; never null"),
    sa.Column("configured", sa.Boolean(), nullable=False, comment="Whether the settings still name it; never null"),
    sa.Column("pushes", sa.Boolean(), nullable=False, comment="Whether it is written to; never null"),
    sa.Column("updates_accounts", sa.Boolean(), nullable=False, comment="Whether crm.update_account works; never null"),
    sa.Column("account_defaults", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="Fields of a new account; never null"),
    sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When `run` or `migrate` wrote it; never null"),
    sa.PrimaryKeyConstraint("platform", name=op.f("published_platforms_pkey")),
    schema="counterfoil",
    comment="The platforms that the boundary's functions know"
    )
    op.create_table("published_rules",
    sa.Column("one", sa.Boolean(), server_default="true", nullable=False, comment="Always true: there is one row; never null"),
    sa.Column("platform_choice", sa.Text(), nullable=False, comment="required, or the platform where every registrant goes; never null"),
    sa.Column("owned_fields", postgresql.ARRAY(sa.Text()), nullable=False, comment="Profile fields that the CRM owns; never null"),
    sa.Column("username", sa.Text(), nullable=False, comment="Template of derived login names; never null"),
    sa.Column("password_length", sa.Integer(), nullable=False, comment="Of generated passwords; never null"),
    sa.Column("password_symbols", sa.Boolean(), nullable=False, comment="Whether they hold symbols; never null"),
    sa.Column("sandbox_payouts", sa.Boolean(), nullable=False, comment="crm.allow_sandbox_payouts; never null"),
    sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When `run` or `migrate` wrote it; never null"),
    sa.CheckConstraint("one", name="published_rules_one_row"),
    sa.PrimaryKeyConstraint("one", name=op.f("published_rules_pkey")),
    schema="counterfoil",
    comment="The settings that the boundary's functions follow"
    )
    op.create_table("registrants",
    sa.Column("registrant_id", sa.Text(), nullable=False, comment="The CRM's key of the person, external_id on the platform; never null"),
    sa.Column("platform", sa.Text(), nullable=True, comment="Name of the platform in the configuration; null: not chosen yet"),
    sa.Column("profile", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="The profile as the CRM wants it now; never null"),
    sa.Column("wish", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="What was asked at registration, without passwords; never null"),
    sa.Column("client_id", sa.BigInteger(), nullable=True, comment="clients.id; null: not confirmed yet"),
    sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When it was registered; never null"),
    sa.CheckConstraint("octet_length(registrant_id) BETWEEN 1 AND 200", name="registrants_id_length"),
    sa.PrimaryKeyConstraint("registrant_id", name=op.f("registrants_pkey")),
    sa.UniqueConstraint("platform", "client_id", name=op.f("registrants_platform_client_id_key")),
    schema="counterfoil",
    comment="People whom the CRM registered"
    )
    op.create_index("registrants_email_idx", "registrants", [sa.literal_column("lower(profile ->> 'email'::text)")], unique=False, schema="counterfoil", postgresql_where=sa.text("(profile ->> 'email'::text) IS NOT NULL"))
    op.create_table("transition_rule",
    sa.Column("kind", sa.Text(), nullable=False, comment="Kind of intent, or payout; never null"),
    sa.Column("previous_state", sa.Text(), nullable=False, comment="State before; new: the row was just inserted; never null"),
    sa.Column("state", sa.Text(), nullable=False, comment="State that may follow; never null"),
    sa.PrimaryKeyConstraint("kind", "previous_state", "state", name=op.f("transition_rule_pkey")),
    schema="counterfoil",
    comment="The only ways from one state to the next; intents and payouts reference it. Nobody changes it"
    )
    op.create_table("accounts",
    sa.Column("reference", sa.Text(), nullable=False, comment="The CRM's name of the account; never null"),
    sa.Column("registrant_id", sa.Text(), nullable=False, comment="Who owns it; never null"),
    sa.Column("platform", sa.Text(), nullable=True, comment="Name of the platform in the configuration; null: not chosen yet"),
    sa.Column("account_id", sa.BigInteger(), nullable=True, comment="accounts.id; null: not known yet"),
    sa.Column("username", sa.Text(), nullable=True, comment="Login name; null: an adopted account whose name is not known"),
    sa.Column("wish", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="Fields as the CRM wants them now, no passwords; never null"),
    sa.Column("currency", sa.Text(), nullable=True, comment="Currency of its money; null: not known yet"),
    sa.Column("currency_digits", sa.Integer(), nullable=True, comment="Digits of that currency after the point; null: not known yet"),
    sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When it was asked for; never null"),
    sa.CheckConstraint("octet_length(reference) BETWEEN 1 AND 200", name="accounts_reference_length"),
    sa.ForeignKeyConstraint(["registrant_id"], ["counterfoil.registrants.registrant_id"]),
    sa.PrimaryKeyConstraint("reference", name=op.f("accounts_pkey")),
    sa.UniqueConstraint("platform", "account_id", name=op.f("accounts_platform_account_id_key")),
    schema="counterfoil",
    comment="Trading accounts that the CRM asked for or adopted"
    )
    op.create_index(op.f("accounts_registrant_id_idx"), "accounts", ["registrant_id"], unique=False, schema="counterfoil")
    op.create_index("accounts_username_key", "accounts", [sa.literal_column("coalesce(platform, ''::text)"), sa.literal_column("lower(username)")], unique=True, schema="counterfoil")
    op.create_table("drift",
    sa.Column("registrant_id", sa.Text(), nullable=False, comment="Whose client differs; never null"),
    sa.Column("field", sa.Text(), nullable=False, comment="Field that the CRM owns and the platform holds otherwise; never null"),
    sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When it was first noticed; never null"),
    sa.ForeignKeyConstraint(["registrant_id"], ["counterfoil.registrants.registrant_id"]),
    sa.PrimaryKeyConstraint("registrant_id", "field", name=op.f("drift_pkey")),
    schema="counterfoil",
    comment="Fields of the CRM that somebody changed on a platform: reported, never overwritten"
    )
    op.create_table("intents",
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="In the order asked; never null"),
    sa.Column("kind", sa.Text(), nullable=False, comment="What is wanted, see domain.intent.Kind; never null"),
    sa.Column("reference", sa.Text(), nullable=False, comment="The CRM's name of what this is about: registrant, account or balance operation; never null"),
    sa.Column("registrant_id", sa.Text(), nullable=False, comment="Whose it is; never null"),
    sa.Column("account_reference", sa.Text(), nullable=True, comment="The account concerned; null: the client itself"),
    sa.Column("platform", sa.Text(), nullable=True, comment="Name of the platform in the configuration; null: not chosen yet"),
    sa.Column("predecessor_id", sa.BigInteger(), nullable=True, comment="The step that must be confirmed before; null: none"),
    sa.Column("predecessor_state", sa.Text(), sa.Computed("CASE WHEN state NOT IN ('waiting', 'cancelled') THEN 'confirmed' END", persisted=True), nullable=True, comment="What the step before must be by now; null: anything"),
    sa.Column("previous_state", sa.Text(), nullable=False, comment="State before this one, written by a trigger; never null"),
    sa.Column("state", sa.Text(), nullable=False, comment="See domain.intent.State; never null"),
    sa.Column("reason", sa.Text(), nullable=True, comment="Why it is in this state, for a person; null: nothing to say"),
    sa.Column("wish", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="What was asked, without passwords; never null"),
    sa.Column("amount", sa.Numeric(), nullable=True, comment="Positive, account currency; null: moves no money"),
    sa.Column("note", sa.Text(), nullable=True, comment="The CRM's own remark; it does not travel; null: none"),
    sa.Column("idempotency_reference", sa.Text(), nullable=True, comment="Our reference on the platform; null: moves no money"),
    sa.Column("lane", sa.Text(), sa.Computed("CASE WHEN kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out') THEN 'money ' || account_reference WHEN kind IN ('account', 'adopt') THEN 'account ' || account_reference WHEN kind IN ('update_account', 'reset_password') THEN 'update ' || account_reference ELSE 'client ' || registrant_id END", persisted=True), nullable=False, comment="At most one intent of a lane is unsettled, and they go in the order asked; never null"),
    sa.Column("attempts", sa.Integer(), server_default="0", nullable=False, comment="Attempts begun; never null"),
    sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="Attempts in a row that surely sent nothing; never null"),
    sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="Not to be taken up before; never null"),
    sa.Column("lease_token", sa.UUID(), nullable=True, comment="The attempt or look under way or last; null: none yet"),
    sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True, comment="When the worker on it has surely given up; null: nobody works on it"),
    sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True, comment="When the newest attempt had surely given up: settle time runs from here; null: none yet"),
    sa.Column("launched_at", sa.DateTime(timezone=True), nullable=True, comment="From here on the newest attempt may have sent a byte; null: it surely had not"),
    sa.Column("fence", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="What the platform held before the attempt; null: nothing noted"),
    sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="What looking for its effect found; null: not looked"),
    sa.Column("looks", sa.Integer(), server_default="0", nullable=False, comment="Agreeing looks; never null"),
    sa.Column("record_id", sa.BigInteger(), nullable=True, comment="The platform's id of what it made; null: nothing known"),
    sa.Column("probe_first", sa.Boolean(), server_default="false", nullable=False, comment="To be looked for before it is sent: the database may have forgotten an attempt; never null"),
    sa.Column("probed_at", sa.DateTime(timezone=True), nullable=True, comment="When it was last looked for; null: never"),
    sa.Column("resends", sa.Integer(), server_default="0", nullable=False, comment="How often it was proven absent; never null"),
    sa.Column("waived", sa.Boolean(), server_default="false", nullable=False, comment="A person answers for the next attempt, which is made without a look before; never null"),
    sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When it was asked for; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, comment="When its state last changed; never null"),
    sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True, comment="When the newest attempt began; null: none yet"),
    sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True, comment="When it was confirmed; null: it is not"),
    sa.CheckConstraint("(kind = 'client') = (predecessor_id IS NULL)", name="intents_has_predecessor"),
    sa.CheckConstraint("(kind IN ('client', 'update_client')) = (account_reference IS NULL)", name="intents_has_account"),
    sa.CheckConstraint("(kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out')) = (amount IS NOT NULL AND idempotency_reference IS NOT NULL)", name="intents_has_amount"),
    sa.CheckConstraint("(state = 'confirmed') = (confirmed_at IS NOT NULL)", name="intents_confirmed_has_time"),
    sa.CheckConstraint("platform IS NOT NULL OR state IN ('waiting', 'cancelled')", name="intents_has_platform"),
    sa.CheckConstraint("state <> 'sent' OR (lease_token IS NOT NULL AND lease_until IS NOT NULL AND sent_at IS NOT NULL)", name="intents_sent_has_lease"),
    sa.CheckConstraint("amount > 0 AND amount < 1000000000000000", name="intents_amount_range"),
    sa.CheckConstraint("octet_length(reference) BETWEEN 1 AND 250", name="intents_reference_length"),
    sa.ForeignKeyConstraint(["account_reference"], ["counterfoil.accounts.reference"]),
    sa.ForeignKeyConstraint(["kind", "previous_state", "state"], ["counterfoil.transition_rule.kind", "counterfoil.transition_rule.previous_state", "counterfoil.transition_rule.state"], name="intents_transition_fkey"),
    sa.ForeignKeyConstraint(["predecessor_id", "predecessor_state"], ["counterfoil.intents.id", "counterfoil.intents.state"], name="intents_order_fkey"),
    sa.ForeignKeyConstraint(["predecessor_id"], ["counterfoil.intents.id"]),
    sa.ForeignKeyConstraint(["registrant_id"], ["counterfoil.registrants.registrant_id"]),
    sa.PrimaryKeyConstraint("id", name=op.f("intents_pkey")),
    sa.UniqueConstraint("id", "state", name="intents_id_state_key"),
    sa.UniqueConstraint("idempotency_reference", name="intents_idempotency_reference_key"),
    schema="counterfoil",
    comment="What the CRM wants done on a platform, and how far it has come: the queue of the write path"
    )
    op.create_index("intents_account_idx", "intents", ["account_reference", "id"], unique=False, schema="counterfoil")
    op.create_index("intents_client_key", "intents", ["registrant_id"], unique=True, schema="counterfoil", postgresql_where=sa.text("kind = 'client' AND state NOT IN ('rejected', 'cancelled')"))
    op.create_index("intents_lane_idx", "intents", ["lane", "id"], unique=False, schema="counterfoil", postgresql_where=sa.text("state IN ('pending', 'sent', 'unknown', 'parked')"))
    op.create_index("intents_open_idx", "intents", ["platform", "state", "id"], unique=False, schema="counterfoil", postgresql_where=sa.text("state IN ('pending', 'sent', 'unknown', 'parked')"))
    op.create_index(op.f("intents_predecessor_id_idx"), "intents", ["predecessor_id"], unique=False, schema="counterfoil")
    op.create_index("intents_record_key", "intents", ["platform", "record_id"], unique=True, schema="counterfoil", postgresql_where=sa.text("amount IS NOT NULL AND state = 'confirmed'"))
    op.create_index("intents_reference_key", "intents", ["reference"], unique=True, schema="counterfoil", postgresql_where=sa.text("kind IN ('account', 'adopt') OR kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out')"))
    op.create_index(op.f("intents_registrant_id_idx"), "intents", ["registrant_id"], unique=False, schema="counterfoil")
    op.create_index("intents_unsettled_key", "intents", ["lane"], unique=True, schema="counterfoil", postgresql_where=sa.text("state IN ('sent', 'unknown', 'parked')"))
    op.create_table("passwords",
    sa.Column("intent_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The step that needs it; never null"),
    sa.Column("name", sa.Text(), nullable=False, comment="user_password or investor_password; never null"),
    sa.Column("secret", sa.LargeBinary(), nullable=False, comment="The password, sealed at the first pick-up; never null"),
    sa.Column("sealed", sa.Boolean(), nullable=False, comment="Whether crm.encryption_key is needed to read it; never null"),
    sa.ForeignKeyConstraint(["intent_id"], ["counterfoil.intents.id"]),
    sa.PrimaryKeyConstraint("intent_id", "name", name=op.f("passwords_pkey")),
    schema="counterfoil",
    comment="Passwords on their way to the platform; a row goes when its step is confirmed, rejected or cancelled"
    )
    op.create_table("payouts",
    sa.Column("reference", sa.Text(), nullable=False, comment="The withdrawal's reference; never null"),
    sa.Column("intent_id", sa.BigInteger(), nullable=False, comment="The withdrawal; never null"),
    sa.Column("withdrawal_state", sa.Text(), sa.Computed("CASE WHEN state NOT IN ('blocked', 'declined') THEN 'confirmed' END", persisted=True), nullable=True, comment="What the withdrawal must be by now; null: anything"),
    sa.Column("kind", sa.Text(), sa.Computed("'payout'::text", persisted=True), nullable=False, comment="payout; never null"),
    sa.Column("previous_state", sa.Text(), nullable=False, comment="State before this one, written by a trigger; never null"),
    sa.Column("state", sa.Text(), nullable=False, comment="See domain.payout.PayoutState; never null"),
    sa.Column("released_at", sa.DateTime(timezone=True), nullable=True, comment="When somebody was told to pay; null: nobody was"),
    sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="When the bank had paid; null: it has not"),
    sa.Column("bank_reference", sa.Text(), nullable=True, comment="The bank's name of the payment; null: not paid"),
    sa.Column("failure", sa.Text(), nullable=True, comment="Why the bank refused; null: it did not"),
    sa.CheckConstraint("(state = 'settled') = (settled_at IS NOT NULL AND bank_reference IS NOT NULL)", name="payouts_settled_has_bank"),
    sa.CheckConstraint("released_at IS NULL OR state IN ('released', 'settled', 'refunding', 'refunded')", name="payouts_time_is_of_release"),
    sa.CheckConstraint("state NOT IN ('released', 'settled') OR released_at IS NOT NULL", name="payouts_released_has_time"),
    sa.ForeignKeyConstraint(["intent_id", "withdrawal_state"], ["counterfoil.intents.id", "counterfoil.intents.state"], name="payouts_order_fkey"),
    sa.ForeignKeyConstraint(["intent_id"], ["counterfoil.intents.id"]),
    sa.ForeignKeyConstraint(["kind", "previous_state", "state"], ["counterfoil.transition_rule.kind", "counterfoil.transition_rule.previous_state", "counterfoil.transition_rule.state"], name="payouts_transition_fkey"),
    sa.PrimaryKeyConstraint("reference", name=op.f("payouts_pkey")),
    sa.UniqueConstraint("intent_id", name=op.f("payouts_intent_id_key")),
    schema="counterfoil",
    comment="Money that may leave for a bank once its withdrawal is confirmed"
    )
    op.create_index("accounts_username_idx", "accounts", [sa.literal_column("lower(username)")], unique=False, schema="mirror")
    op.create_index("clients_external_id_idx", "clients", ["platform", "external_id"], unique=False, schema="mirror", postgresql_where=sa.text("external_id <> ''::text"))
    op.create_index("transactions_reference_idx", "transactions", ["platform", "reference"], unique=False, schema="mirror", postgresql_where=sa.text("reference IS NOT NULL"))

    # fmt: on
    _run("0002_order.sql")
    _run("0002_boundary.sql")
    op.execute("COMMENT ON SCHEMA crm IS 'What the CRM calls and reads'")


def downgrade() -> None:
    """Back to the mirror alone. Refused by nothing: whoever goes back has decided to forget what was asked for."""
    op.execute("DROP SCHEMA crm CASCADE")
    op.execute(
        "DROP TABLE counterfoil.database_identity, counterfoil.decisions, counterfoil.events, counterfoil.platform_state, counterfoil.published_fields, counterfoil.published_platforms, counterfoil.published_rules, counterfoil.registrants, counterfoil.transition_rule, counterfoil.accounts, counterfoil.drift, counterfoil.intents, counterfoil.passwords, counterfoil.payouts CASCADE"
    )
    op.execute(DROP_FUNCTIONS)
    op.drop_index(
        "transactions_reference_idx",
        table_name="transactions",
        schema="mirror",
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.drop_index(
        "clients_external_id_idx",
        table_name="clients",
        schema="mirror",
        postgresql_where=sa.text("external_id <> ''::text"),
    )
    op.drop_index("accounts_username_idx", table_name="accounts", schema="mirror")
