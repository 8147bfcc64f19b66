"""The tables of the write path: people, accounts, intents, payouts, and what the CRM is told.

What these tables hold in order by constraints and triggers is written in the migration's SQL, next to the boundary's functions.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from counterfoil.store import tables
from counterfoil.store.boundary_tables import PLATFORM, moment, own_table, text_column

metadata = tables.metadata
"""Every table of ours, these included: whoever compares or creates all of them imports it from here."""

_MONEY = "('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out')"
_UNSETTLED = "state IN ('sent', 'unknown', 'parked')"

TRANSITION_RULE = own_table(
    "transition_rule",
    text_column("kind", "Kind of intent, or payout", key=True),
    text_column("previous_state", "State before; new: the row was just inserted", key=True),
    text_column("state", "State that may follow", key=True),
    comment="The only ways from one state to the next; intents and payouts reference it. Nobody changes it",
)

REGISTRANTS = own_table(
    "registrants",
    text_column("registrant_id", "The CRM's key of the person, external_id on the platform", key=True),
    text_column("platform", f"{PLATFORM}; null: not chosen yet", null=True),
    sa.Column("profile", JSONB, nullable=False, comment="The profile as the CRM wants it now; never null"),
    sa.Column("wish", JSONB, nullable=False, comment="What was asked at registration, without passwords; never null"),
    sa.Column("client_id", sa.BigInteger, comment="clients.id; null: not confirmed yet"),
    moment("created_at", "When it was registered", now=True),
    sa.CheckConstraint("octet_length(registrant_id) BETWEEN 1 AND 200", name="registrants_id_length"),
    sa.UniqueConstraint("platform", "client_id"),
    sa.Index(
        "registrants_email_idx",
        sa.text("lower(profile ->> 'email'::text)"),
        postgresql_where=sa.text("(profile ->> 'email'::text) IS NOT NULL"),
    ),
    comment="People whom the CRM registered",
)

ACCOUNTS = own_table(
    "accounts",
    text_column("reference", "The CRM's name of the account", key=True),
    sa.Column(
        "registrant_id",
        sa.Text,
        sa.ForeignKey("counterfoil.registrants.registrant_id"),
        nullable=False,
        index=True,
        comment="Who owns it; never null",
    ),
    text_column("platform", f"{PLATFORM}; null: not chosen yet", null=True),
    sa.Column("account_id", sa.BigInteger, comment="accounts.id; null: not known yet"),
    text_column("username", "Login name; null: an adopted account whose name is not known", null=True),
    sa.Column("wish", JSONB, nullable=False, comment="Fields as the CRM wants them now, no passwords; never null"),
    text_column("currency", "Currency of its money; null: not known yet", null=True),
    sa.Column("currency_digits", sa.Integer, comment="Digits of that currency after the point; null: not known yet"),
    moment("created_at", "When it was asked for", now=True),
    sa.CheckConstraint("octet_length(reference) BETWEEN 1 AND 200", name="accounts_reference_length"),
    sa.UniqueConstraint("platform", "account_id"),
    sa.Index("accounts_username_key", sa.text("coalesce(platform, ''::text)"), sa.text("lower(username)"), unique=True),
    comment="Trading accounts that the CRM asked for or adopted",
)

INTENTS = own_table(
    "intents",
    sa.Column(
        "id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="In the order asked; never null"
    ),
    text_column("kind", "What is wanted, see domain.intent.Kind"),
    text_column("reference", "The CRM's name of what this is about: registrant, account or balance operation"),
    sa.Column(
        "registrant_id",
        sa.Text,
        sa.ForeignKey("counterfoil.registrants.registrant_id"),
        nullable=False,
        index=True,
        comment="Whose it is; never null",
    ),
    sa.Column(
        "account_reference",
        sa.Text,
        sa.ForeignKey("counterfoil.accounts.reference"),
        comment="The account concerned; null: the client itself",
    ),
    text_column("platform", f"{PLATFORM}; null: not chosen yet", null=True),
    sa.Column(
        "predecessor_id",
        sa.BigInteger,
        sa.ForeignKey("counterfoil.intents.id"),
        index=True,
        comment="The step that must be confirmed before; null: none",
    ),
    sa.Column(
        "predecessor_state",
        sa.Text,
        sa.Computed("CASE WHEN state NOT IN ('waiting', 'cancelled') THEN 'confirmed' END", persisted=True),
        comment="What the step before must be by now; null: anything",
    ),
    text_column("previous_state", "State before this one, written by a trigger"),
    text_column("state", "See domain.intent.State"),
    text_column("reason", "Why it is in this state, for a person; null: nothing to say", null=True),
    sa.Column("wish", JSONB, nullable=False, comment="What was asked, without passwords; never null"),
    sa.Column("amount", sa.Numeric, comment="Positive, account currency; null: moves no money"),
    text_column("note", "The CRM's own remark; it does not travel; null: none", null=True),
    text_column("idempotency_reference", "Our reference on the platform; null: moves no money", null=True),
    sa.Column(
        "lane",
        sa.Text,
        sa.Computed(
            f"CASE WHEN kind IN {_MONEY} THEN 'money ' || account_reference"
            " WHEN kind IN ('account', 'adopt', 'link') THEN 'account ' || account_reference"
            " WHEN kind IN ('update_account', 'reset_password') THEN 'update ' || account_reference"
            " ELSE 'client ' || registrant_id END",
            persisted=True,
        ),
        nullable=False,
        comment="At most one intent of a lane is unsettled, and they go in the order asked; never null",
    ),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment="Attempts begun; never null"),
    sa.Column(
        "failures",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="Attempts in a row that surely sent nothing; never null",
    ),
    moment("due_at", "Not to be taken up before", now=True),
    sa.Column("lease_token", UUID(as_uuid=True), comment="The attempt or look under way or last; null: none yet"),
    moment("lease_until", "When the worker on it has surely given up; null: nobody works on it"),
    moment("deadline_at", "When the newest attempt had surely given up: settle time runs from here; null: none yet"),
    moment("launched_at", "From here on the newest attempt may have sent a byte; null: it surely had not"),
    sa.Column("fence", JSONB, comment="What the platform held before the attempt; null: nothing noted"),
    sa.Column("evidence", JSONB, comment="What looking for its effect found; null: not looked"),
    sa.Column("looks", sa.Integer, nullable=False, server_default="0", comment="Agreeing looks; never null"),
    sa.Column("record_id", sa.BigInteger, comment="The platform's id of what it made; null: nothing known"),
    sa.Column(
        "probe_first",
        sa.Boolean,
        nullable=False,
        server_default="false",
        comment="To be looked for before it is sent: the database may have forgotten an attempt; never null",
    ),
    moment("probed_at", "When it was last looked for; null: never"),
    sa.Column(
        "resends", sa.Integer, nullable=False, server_default="0", comment="How often it was proven absent; never null"
    ),
    sa.Column(
        "waived",
        sa.Boolean,
        nullable=False,
        server_default="false",
        comment="A person answers for the next attempt, which is made without a look before; never null",
    ),
    moment("created_at", "When it was asked for", now=True),
    moment("changed_at", "When its state last changed", now=True),
    moment("sent_at", "When the newest attempt began; null: none yet"),
    moment("confirmed_at", "When it was confirmed; null: it is not"),
    sa.ForeignKeyConstraint(
        ["kind", "previous_state", "state"],
        [TRANSITION_RULE.c.kind, TRANSITION_RULE.c.previous_state, TRANSITION_RULE.c.state],
        name="intents_transition_fkey",
    ),
    sa.ForeignKeyConstraint(
        ["predecessor_id", "predecessor_state"],
        ["counterfoil.intents.id", "counterfoil.intents.state"],
        name="intents_order_fkey",
    ),
    sa.UniqueConstraint("id", "state", name="intents_id_state_key"),
    sa.UniqueConstraint("idempotency_reference", name="intents_idempotency_reference_key"),
    sa.CheckConstraint("(kind = 'client') = (predecessor_id IS NULL)", name="intents_has_predecessor"),
    sa.CheckConstraint(
        "(kind IN ('client', 'update_client')) = (account_reference IS NULL)", name="intents_has_account"
    ),
    sa.CheckConstraint(
        f"(kind IN {_MONEY}) = (amount IS NOT NULL AND idempotency_reference IS NOT NULL)", name="intents_has_amount"
    ),
    sa.CheckConstraint("amount > 0 AND amount < 1000000000000000", name="intents_amount_range"),
    sa.CheckConstraint("platform IS NOT NULL OR state IN ('waiting', 'cancelled')", name="intents_has_platform"),
    sa.CheckConstraint(
        "state <> 'sent' OR (lease_token IS NOT NULL AND lease_until IS NOT NULL AND sent_at IS NOT NULL)",
        name="intents_sent_has_lease",
    ),
    sa.CheckConstraint("(state = 'confirmed') = (confirmed_at IS NOT NULL)", name="intents_confirmed_has_time"),
    sa.CheckConstraint("octet_length(reference) BETWEEN 1 AND 250", name="intents_reference_length"),
    comment="What the CRM wants done on a platform, and how far it has come: the queue of the write path",
)

sa.Index(
    "intents_reference_key",
    INTENTS.c.reference,
    unique=True,
    postgresql_where=sa.text(f"kind IN ('account', 'adopt') OR kind IN {_MONEY}"),
)
sa.Index(
    "intents_client_key",
    INTENTS.c.registrant_id,
    unique=True,
    postgresql_where=sa.text("kind = 'client' AND state NOT IN ('rejected', 'cancelled')"),
)
sa.Index(
    "intents_link_key",
    INTENTS.c.account_reference,
    unique=True,
    postgresql_where=sa.text("kind = 'link' AND state NOT IN ('rejected', 'cancelled')"),
)
# One record of the platform is the effect of one operation: an answer about another is noticed.
sa.Index(
    "intents_record_key",
    INTENTS.c.platform,
    INTENTS.c.record_id,
    unique=True,
    postgresql_where=sa.text("amount IS NOT NULL AND state = 'confirmed'"),
)
# Operations that get a row in the mirror where the platform tells none.
sa.Index(
    "intents_booked_idx",
    INTENTS.c.platform,
    INTENTS.c.confirmed_at,
    postgresql_where=sa.text("amount IS NOT NULL AND state = 'confirmed'"),
)
sa.Index("intents_unsettled_key", INTENTS.c.lane, unique=True, postgresql_where=sa.text(_UNSETTLED))
sa.Index(
    "intents_lane_idx",
    INTENTS.c.lane,
    INTENTS.c.id,
    postgresql_where=sa.text("state IN ('pending', 'sent', 'unknown', 'parked')"),
)
sa.Index(
    "intents_open_idx",
    INTENTS.c.platform,
    INTENTS.c.state,
    INTENTS.c.id,
    postgresql_where=sa.text("state IN ('pending', 'sent', 'unknown', 'parked')"),
)
sa.Index("intents_account_idx", INTENTS.c.account_reference, INTENTS.c.id)

PASSWORDS = own_table(
    "passwords",
    sa.Column(
        "intent_id",
        sa.BigInteger,
        sa.ForeignKey("counterfoil.intents.id"),
        primary_key=True,
        autoincrement=False,
        comment="The step that needs it; never null",
    ),
    text_column("name", "user_password, investor_password or password_hash", key=True),
    sa.Column(
        "secret", sa.LargeBinary, nullable=False, comment="The password, sealed at the first pick-up; never null"
    ),
    sa.Column(
        "sealed", sa.Boolean, nullable=False, comment="Whether crm.encryption_key is needed to read it; never null"
    ),
    comment="Passwords on their way to the platform; a row goes when its step is confirmed, rejected or cancelled",
)

PAYOUTS = own_table(
    "payouts",
    text_column("reference", "The withdrawal's reference", key=True),
    sa.Column(
        "intent_id",
        sa.BigInteger,
        sa.ForeignKey("counterfoil.intents.id"),
        nullable=False,
        unique=True,
        comment="The withdrawal; never null",
    ),
    sa.Column(
        "withdrawal_state",
        sa.Text,
        sa.Computed("CASE WHEN state NOT IN ('blocked', 'declined') THEN 'confirmed' END", persisted=True),
        comment="What the withdrawal must be by now; null: anything",
    ),
    sa.Column(
        "kind", sa.Text, sa.Computed("'payout'::text", persisted=True), nullable=False, comment="payout; never null"
    ),
    text_column("previous_state", "State before this one, written by a trigger"),
    text_column("state", "See domain.payout.PayoutState"),
    moment("released_at", "When somebody was told to pay; null: nobody was"),
    moment("settled_at", "When the bank had paid; null: it has not"),
    text_column("bank_reference", "The bank's name of the payment; null: not paid", null=True),
    text_column("failure", "Why the bank refused; null: it did not", null=True),
    sa.ForeignKeyConstraint(
        ["kind", "previous_state", "state"],
        [TRANSITION_RULE.c.kind, TRANSITION_RULE.c.previous_state, TRANSITION_RULE.c.state],
        name="payouts_transition_fkey",
    ),
    sa.ForeignKeyConstraint(
        ["intent_id", "withdrawal_state"],
        [INTENTS.c.id, INTENTS.c.state],
        name="payouts_order_fkey",
    ),
    sa.CheckConstraint(
        "state NOT IN ('released', 'settled') OR released_at IS NOT NULL", name="payouts_released_has_time"
    ),
    sa.CheckConstraint(
        "released_at IS NULL OR state IN ('released', 'settled', 'refunding', 'refunded')",
        name="payouts_time_is_of_release",
    ),
    sa.CheckConstraint(
        "(state = 'settled') = (settled_at IS NOT NULL AND bank_reference IS NOT NULL)", name="payouts_settled_has_bank"
    ),
    comment="Money that may leave for a bank once its withdrawal is confirmed",
)

EVENTS = own_table(
    "events",
    sa.Column(
        "entry", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="In the order made; never null"
    ),
    sa.Column("id", sa.BigInteger, unique=True, comment="In the order committed, without gaps; null: not numbered yet"),
    moment("at", "When it happened", now=True),
    text_column("reference", "The CRM's name of what it is about"),
    text_column("event", "noun.verb: operation.confirmed, payout.released …"),
    text_column("state", "The state that was reached"),
    sa.Index("events_unnumbered_idx", "entry", postgresql_where=sa.text("id IS NULL")),
    comment="What the CRM is told; crm.events shows the numbered ones",
)

DRIFT = own_table(
    "drift",
    sa.Column(
        "registrant_id",
        sa.Text,
        sa.ForeignKey("counterfoil.registrants.registrant_id"),
        primary_key=True,
        comment="Whose client differs; never null",
    ),
    text_column("field", "Field that the CRM owns and the platform holds otherwise", key=True),
    moment("noticed_at", "When it was first noticed", now=True),
    comment="Fields of the CRM that somebody changed on a platform: reported, never overwritten",
)

DECISIONS = own_table(
    "decisions",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="Never null"),
    moment("at", "When it was decided", now=True),
    text_column("subject", "Reference, platform or database concerned"),
    text_column("decision", "confirm, retry, cancel, resume, rebind or accept-restore"),
    text_column("reason", "Why, in the person's words"),
    text_column("person", "Database role and operating-system user"),
    comment="What people decided at the operator's desk, and why",
)
