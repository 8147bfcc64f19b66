"""The mirror, the daemon's own tables, the roles that read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLES = """
DO $$
DECLARE missing text;
BEGIN
    FOREACH missing IN ARRAY ARRAY['counterfoil_crm', 'counterfoil_reader'] LOOP
        -- Roles belong to the whole server: another database's migration may make them at the same moment.
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = missing) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', missing);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$
"""

GRANTS = (
    "REVOKE ALL ON SCHEMA mirror, counterfoil FROM PUBLIC",
    "REVOKE ALL ON FUNCTION counterfoil.take_token FROM PUBLIC",
    "GRANT USAGE ON SCHEMA mirror TO counterfoil_crm, counterfoil_reader",
    "GRANT SELECT ON ALL TABLES IN SCHEMA mirror TO counterfoil_crm, counterfoil_reader",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA mirror GRANT SELECT ON TABLES TO counterfoil_crm, counterfoil_reader",
)


TAKE_TURN = """
CREATE FUNCTION counterfoil.take_token(
    for_platform text, per_second float8, burst integer, concurrent integer, urgency integer, spare integer,
    may_reserve boolean, holder uuid, hold float8
) RETURNS TABLE (wait float8, slot integer, paused boolean, failures integer, reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    budget counterfoil.budgets;
    -- Rounded up: a bucket that fills a fraction of a microsecond early gives a token too many in the end.
    step interval := make_interval(secs => ceil(1000000 / per_second) / 1000000);
    -- A waiter repeats itself sooner than this; see store.budget.
    patience interval := interval '1 s';
    moment timestamptz;
    base timestamptz;
    ready_at timestamptz;
    place integer;
BEGIN
    -- A bucket that nobody knows starts empty: what was sent before a crash is not known.
    INSERT INTO counterfoil.budgets AS b (platform, next_at, failures)
    VALUES (for_platform, clock_timestamp() + step * burst, 0) ON CONFLICT DO NOTHING;
    SELECT b.* INTO budget FROM counterfoil.budgets b WHERE b.platform = for_platform FOR UPDATE;
    moment := clock_timestamp();
    -- Times that lie further ahead than anything sets them were written before the clock was set back.
    IF budget.next_at > moment + step * (burst + concurrent) THEN
        budget.next_at := moment + step * burst;
        UPDATE counterfoil.budgets b SET next_at = budget.next_at WHERE b.platform = for_platform;
    END IF;
    IF budget.paused_until > moment AND budget.paused_until <= moment + interval '1 hour 1 second' THEN
        RETURN QUERY SELECT extract(epoch FROM budget.paused_until - moment)::float8, NULL::integer, true,
            budget.failures, budget.reason;
        RETURN;
    END IF;
    IF (budget.waiting_until BETWEEN moment AND moment + step * (concurrent + 2) + patience) IS NOT TRUE THEN
        budget.waiting := NULL;
    END IF;
    -- Somebody more urgent, in whatever process, is served first.
    IF budget.waiting < urgency THEN
        RETURN QUERY SELECT greatest(extract(epoch FROM budget.waiting_until - patience - moment), 0)::float8,
            NULL::integer, false, budget.failures, NULL::text;
        RETURN;
    END IF;
    base := greatest(budget.next_at, moment);
    ready_at := greatest(base + step * (1 + spare) - step * burst, moment);
    IF ready_at = moment OR (may_reserve AND ready_at <= moment + step * concurrent) THEN
        SELECT n INTO place FROM generate_series(1, concurrent) n
        WHERE NOT EXISTS (
            SELECT FROM counterfoil.slots s WHERE s.platform = for_platform AND s.slot = n AND s.expires_at > moment
                AND s.expires_at <= moment + step * concurrent + make_interval(secs => hold * 10)
        ) LIMIT 1;
    END IF;
    IF place IS NULL THEN
        UPDATE counterfoil.budgets b SET waiting = urgency, waiting_until = ready_at + patience
        WHERE b.platform = for_platform AND spare = 0
            AND (b.waiting IS DISTINCT FROM urgency OR b.waiting_until < ready_at + patience / 2);
        RETURN QUERY SELECT extract(epoch FROM ready_at - moment)::float8, NULL::integer, false, budget.failures, NULL::text;
        RETURN;
    END IF;
    INSERT INTO counterfoil.slots AS s (platform, slot, token, expires_at)
    VALUES (for_platform, place, holder, ready_at + make_interval(secs => hold))
    ON CONFLICT ON CONSTRAINT slots_pkey DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at;
    UPDATE counterfoil.budgets b SET next_at = base + step, waiting = nullif(budget.waiting, urgency)
    WHERE b.platform = for_platform;
    RETURN QUERY SELECT extract(epoch FROM ready_at - moment)::float8, place, false, budget.failures, NULL::text;
END $$
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA mirror")
    op.execute("COMMENT ON SCHEMA mirror IS 'What the trading platforms hold, as of the last poll; read only'")
    op.execute("COMMENT ON SCHEMA counterfoil IS 'The daemon''s own tables; nobody else reads or writes them'")
    op.execute(ROLES)
    op.execute(sa.schema.CreateSequence(sa.Sequence("version", schema="mirror")))
    # fmt: off
    op.create_table("asked",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="accounts.id; never null"),
    sa.Column("balance", sa.Numeric(), nullable=True, comment="The account's balance when asked, account currency; null: was null"),
    sa.Column("credit", sa.Numeric(), nullable=True, comment="The account's credit when asked, account currency; null: was null"),
    sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False, comment="When its transactions were last read; never null"),
    sa.PrimaryKeyConstraint("platform", "account_id", name=op.f("asked_pkey")),
    schema="counterfoil",
    comment="When each account's transactions were last read, and what its balance was then"
    )
    op.create_table("budgets",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("next_at", sa.DateTime(timezone=True), nullable=False, comment="When the bucket would be full again; never null"),
    sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True, comment="No request before; null: not paused"),
    sa.Column("failures", sa.Integer(), nullable=False, comment="Failed requests in a row; never null"),
    sa.Column("reason", sa.Text(), nullable=True, comment="Why it is paused or the newest request failed; null: neither"),
    sa.Column("waiting", sa.Integer(), nullable=True, comment="The most urgent priority that waits, see domain.priority; null: none does"),
    sa.Column("waiting_until", sa.DateTime(timezone=True), nullable=True, comment="When `waiting` is out of date; null: none ever waited"),
    sa.PrimaryKeyConstraint("platform", name=op.f("budgets_pkey")),
    schema="counterfoil",
    comment="One token bucket and one breaker per platform, shared by all replicas",
    prefixes=["UNLOGGED"]
    )
    op.create_table("cursors",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("resource", sa.Text(), autoincrement=False, nullable=False, comment="Kind of record pulled: accounts, deals …; never null"),
    sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="How far the pull has come, see domain.cursor; never null"),
    sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment="Last move; never null"),
    sa.PrimaryKeyConstraint("platform", "resource", name=op.f("cursors_pkey")),
    schema="counterfoil",
    comment="How far each pull has come; moves in the transaction that writes the rows"
    )
    op.create_table("freshness",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("resource", sa.Text(), autoincrement=False, nullable=False, comment="Kind of record pulled: accounts, deals …; never null"),
    sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True, comment="End of the newest complete run; null: none yet"),
    sa.Column("as_of", sa.DateTime(timezone=True), nullable=True, comment="Start of the newest complete run: the mirror shows that moment or a later one; null: none"),
    sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True, comment="End of the newest failed run; null: none, or a complete one came after it"),
    sa.Column("failures", sa.Integer(), nullable=False, comment="Failed runs since the newest complete one; never null"),
    sa.Column("reason", sa.Text(), nullable=True, comment="Why the newest run failed; null: it did not"),
    sa.PrimaryKeyConstraint("platform", "resource", name=op.f("freshness_pkey")),
    schema="counterfoil",
    comment="Freshness per resource; lost in a crash of PostgreSQL and soon known again",
    prefixes=["UNLOGGED"]
    )
    op.create_table("leases",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("resource", sa.Text(), autoincrement=False, nullable=False, comment="Kind of record pulled: accounts, deals …; never null"),
    sa.Column("token", sa.UUID(), nullable=False, comment="Proof of holding, kept after release; never null"),
    sa.Column("previous", sa.UUID(), nullable=True, comment="The token before this one; null: there was none"),
    sa.Column("holder", sa.Text(), nullable=False, comment="Host and process of the newest holder; never null"),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="When the lease lapses unless renewed; null: released"),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="When it was last acquired; never null"),
    sa.PrimaryKeyConstraint("platform", "resource", name=op.f("leases_pkey")),
    schema="counterfoil",
    comment="Who does which work now. A crash of PostgreSQL empties it: whoever held a lease has lost it",
    prefixes=["UNLOGGED"]
    )
    op.create_table("quarantine",
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Never null"),
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("resource", sa.Text(), nullable=False, comment="Kind of record pulled: accounts, deals …; never null"),
    sa.Column("record_id", sa.Text(), nullable=True, comment="The record's id as sent; null: it had none that could be read"),
    sa.Column("reason", sa.Text(), nullable=False, comment="What is wrong with it; never null"),
    sa.Column("body", sa.Text(), nullable=False, comment="The record as sent, passwords removed, at most 64 KiB; never null"),
    sa.Column("fingerprint", sa.Text(), nullable=False, comment="Hash of the body: the same record is kept once; never null"),
    sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When it first came; never null"),
    sa.PrimaryKeyConstraint("id", name=op.f("quarantine_pkey")),
    sa.UniqueConstraint("platform", "resource", "fingerprint", name=op.f("quarantine_platform_resource_fingerprint_key")),
    schema="counterfoil",
    comment="Records that could not be read; the rest of their page was kept"
    )
    op.create_table("sessions",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="The session, sealed with crm.encryption_key; never null"),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="When the platform forgets it; never null"),
    sa.PrimaryKeyConstraint("platform", name=op.f("sessions_pkey")),
    schema="counterfoil",
    comment="One login session per platform, shared by all replicas"
    )
    op.create_table("slots",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False, comment="Number of the slot, from 1; never null"),
    sa.Column("token", sa.UUID(), nullable=True, comment="The request that holds it; null: free"),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="When a holder that died has surely stopped; null: free"),
    sa.PrimaryKeyConstraint("platform", "slot", name=op.f("slots_pkey")),
    schema="counterfoil",
    comment="Requests under way, counted over all replicas",
    prefixes=["UNLOGGED"]
    )
    op.create_table("vanished",
    sa.Column("platform", sa.Text(), autoincrement=False, nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("resource", sa.Text(), autoincrement=False, nullable=False, comment="Table of the mirror; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Id of the mirror's row; never null"),
    sa.Column("noticed_by", sa.Text(), autoincrement=False, nullable=False, comment="The run that missed it: the resource of its lease; never null"),
    sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment="First missed; never null"),
    sa.Column("looks", sa.Integer(), nullable=False, comment="Listings that lacked it, or look-ups without an answer; never null"),
    sa.Column("state", sa.Text(), nullable=False, comment="missed: being looked for; held: too many at once, a person decides; settled: known to be closed; never null"),
    sa.PrimaryKeyConstraint("platform", "resource", "id", "noticed_by", name=op.f("vanished_pkey")),
    schema="counterfoil",
    comment="Rows that a complete listing lacked and that are not declared deleted yet"
    )
    op.create_table("accounts",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("user_id", sa.BigInteger(), nullable=True, comment="login identity of the account; null: not sent by the platform"),
    sa.Column("client_id", sa.BigInteger(), nullable=True, comment="owner: clients.id; null: not sent by the platform"),
    sa.Column("group_id", sa.BigInteger(), nullable=True, comment="groups.id; null: not sent by the platform"),
    sa.Column("username", sa.Text(), nullable=True, comment="login name; null: not sent by the platform"),
    sa.Column("first_name", sa.Text(), nullable=True, comment="first name of the holder; null: not sent by the platform"),
    sa.Column("middle_name", sa.Text(), nullable=True, comment="middle name of the holder; null: not sent by the platform"),
    sa.Column("family_name", sa.Text(), nullable=True, comment="family name of the holder; null: not sent by the platform"),
    sa.Column("company", sa.Text(), nullable=True, comment="company name; null: not sent by the platform"),
    sa.Column("email", sa.Text(), nullable=True, comment="e-mail address; null: not sent by the platform"),
    sa.Column("phone", sa.Text(), nullable=True, comment="telephone number; null: not sent by the platform"),
    sa.Column("country", sa.Text(), nullable=True, comment="country of residence, in the platform's own spelling; null: not sent by the platform"),
    sa.Column("zip_code", sa.Text(), nullable=True, comment="postal code; null: not sent by the platform"),
    sa.Column("state", sa.Text(), nullable=True, comment="state or province; null: not sent by the platform"),
    sa.Column("city", sa.Text(), nullable=True, comment="city; null: not sent by the platform"),
    sa.Column("address", sa.Text(), nullable=True, comment="street address; null: not sent by the platform"),
    sa.Column("currency", sa.Text(), nullable=True, comment="currency of every amount of this account; null: not sent by the platform"),
    sa.Column("currency_digits", sa.BigInteger(), nullable=True, comment="digits after the decimal point of that currency; null: not sent by the platform"),
    sa.Column("balance", sa.Numeric(), nullable=True, comment="account currency; sum of all deals and balance operations; null: not sent by the platform"),
    sa.Column("credit", sa.Numeric(), nullable=True, comment="account currency; non-withdrawable bonus; null: not sent by the platform"),
    sa.Column("equity", sa.Numeric(), nullable=True, comment="account currency; balance + credit + floating profit; null: not sent by the platform"),
    sa.Column("margin", sa.Numeric(), nullable=True, comment="account currency; bound by open positions; null: not sent by the platform"),
    sa.Column("margin_free", sa.Numeric(), nullable=True, comment="account currency; equity less margin; null: not sent by the platform"),
    sa.Column("margin_level", sa.Numeric(), nullable=True, comment="per cent; equity to margin; null: not sent by the platform"),
    sa.Column("margin_initial", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("margin_maintenance", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("margin_leverage", sa.Numeric(), nullable=True, comment="leverage used for the margin; null: not sent by the platform"),
    sa.Column("profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("floating", sa.Numeric(), nullable=True, comment="account currency; profit of open positions; null: not sent by the platform"),
    sa.Column("storage", sa.Numeric(), nullable=True, comment="account currency; overnight charges; null: not sent by the platform"),
    sa.Column("assets", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("liabilities", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("blocked_commission", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("blocked_profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("day_profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("week_profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("month_profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("leverage", sa.BigInteger(), nullable=True, comment="1:x; 0 means the group's; null: not sent by the platform"),
    sa.Column("trade_type", sa.BigInteger(), nullable=True, comment="0 normal, 1 demo; null: not sent by the platform"),
    sa.Column("liquidation_status", sa.BigInteger(), nullable=True, comment="0 healthy, 1 margin call, 2 stop out; null: not sent by the platform"),
    sa.Column("enable_risk_management", sa.Boolean(), nullable=True, comment="whether the limits below apply; null: not sent by the platform"),
    sa.Column("max_day_loss", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("max_day_profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("max_week_loss", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("max_week_profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("max_month_loss", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("max_month_profit", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("user", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="login identity when the platform expands it, passwords removed; null: not sent by the platform"),
    sa.Column("orders", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="orders when the platform expands them; null: not sent by the platform"),
    sa.Column("positions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="positions when the platform expands them; null: not sent by the platform"),
    sa.Column("deals", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="deals when the platform expands them; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform created the record; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("accounts_pkey")),
    schema="mirror",
    comment="Trading accounts with their balances as of the last poll"
    )
    op.create_index(op.f("accounts_platform_client_id_idx"), "accounts", ["platform", "client_id"], unique=False, schema="mirror")
    op.create_index(op.f("accounts_version_idx"), "accounts", ["version"], unique=False, schema="mirror")
    op.create_table("clients",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("type", sa.BigInteger(), nullable=True, comment="0 individual, 1 corporate, 2 fund; null: not sent by the platform"),
    sa.Column("status", sa.BigInteger(), nullable=True, comment="0 unregistered … 9 active, 10 inactive, 11 suspended, 12 closed, 13 terminated; null: not sent by the platform"),
    sa.Column("kyc_status", sa.BigInteger(), nullable=True, comment="0 accepted, 1 rejected, as the vendor's enum has it; there is no value for pending; null: not sent by the platform"),
    sa.Column("manager_id", sa.BigInteger(), nullable=True, comment="responsible manager; null: not sent by the platform"),
    sa.Column("preferred_group", sa.BigInteger(), nullable=True, comment="group id; null: not sent by the platform"),
    sa.Column("approved_by", sa.BigInteger(), nullable=True, comment="user who approved the client; null: not sent by the platform"),
    sa.Column("approval_date", sa.Date(), nullable=True, comment="day of approval; null: not approved yet, or not sent"),
    sa.Column("close_date", sa.Date(), nullable=True, comment="day of closing; null: not closed, or not sent"),
    sa.Column("last_contact_date", sa.Date(), nullable=True, comment="day of the last contact; null: never, or not sent"),
    sa.Column("lead_source", sa.Text(), nullable=True, comment="where the client came from; null: not sent by the platform"),
    sa.Column("lead_campaign", sa.Text(), nullable=True, comment="campaign that brought the client; null: not sent by the platform"),
    sa.Column("introducer", sa.Text(), nullable=True, comment="person or partner who introduced the client; null: not sent by the platform"),
    sa.Column("title", sa.Text(), nullable=True, comment="Mr, Mrs, Dr …; null: not sent by the platform"),
    sa.Column("first_name", sa.Text(), nullable=True, comment="first name; null: not sent by the platform"),
    sa.Column("middle_name", sa.Text(), nullable=True, comment="middle name; null: not sent by the platform"),
    sa.Column("family_name", sa.Text(), nullable=True, comment="family name; null: not sent by the platform"),
    sa.Column("gender", sa.Text(), nullable=True, comment="as the platform sends it; its values are not documented; null: not sent by the platform"),
    sa.Column("birth_date", sa.Date(), nullable=True, comment="day of birth; null: unknown, or not sent"),
    sa.Column("language", sa.Text(), nullable=True, comment="preferred language; null: not sent by the platform"),
    sa.Column("preferred_method", sa.BigInteger(), nullable=True, comment="0 not specified, 1 email, 2 phone, 3 sms, 4 messenger; null: not sent by the platform"),
    sa.Column("mobile", sa.Text(), nullable=True, comment="mobile telephone number; null: not sent by the platform"),
    sa.Column("local_number", sa.Text(), nullable=True, comment="local telephone number; null: not sent by the platform"),
    sa.Column("email", sa.Text(), nullable=True, comment="e-mail address; null: not sent by the platform"),
    sa.Column("messengers", sa.Text(), nullable=True, comment="messenger accounts; null: not sent by the platform"),
    sa.Column("social_networks", sa.Text(), nullable=True, comment="social media accounts; null: not sent by the platform"),
    sa.Column("external_id", sa.Text(), nullable=True, comment="the CRM's key of this person: the registrant_id, verbatim; null: not sent by the platform"),
    sa.Column("document_type", sa.BigInteger(), nullable=True, comment="0 passport, 1 driving licence, 2 national id; null: not sent by the platform"),
    sa.Column("document_number", sa.Text(), nullable=True, comment="number of the document; null: not sent by the platform"),
    sa.Column("issue_date", sa.Date(), nullable=True, comment="day the document was issued; null: unknown, or not sent"),
    sa.Column("expiry_date", sa.Date(), nullable=True, comment="day the document expires; null: unknown, or not sent"),
    sa.Column("comment", sa.Text(), nullable=True, comment="free text; null: not sent by the platform"),
    sa.Column("country", sa.Text(), nullable=True, comment="country of residence, in the platform's own spelling; null: not sent by the platform"),
    sa.Column("state", sa.Text(), nullable=True, comment="state or province; null: not sent by the platform"),
    sa.Column("city", sa.Text(), nullable=True, comment="city; null: not sent by the platform"),
    sa.Column("zip_code", sa.Text(), nullable=True, comment="postal code; null: not sent by the platform"),
    sa.Column("address", sa.Text(), nullable=True, comment="street address; null: not sent by the platform"),
    sa.Column("national", sa.Text(), nullable=True, comment="nationality; null: not sent by the platform"),
    sa.Column("tax_id", sa.Text(), nullable=True, comment="tax identification number; null: not sent by the platform"),
    sa.Column("employment_status", sa.BigInteger(), nullable=True, comment="0 unemployed, 1 employed, 2 self-employed, 3 retired, 4 student, 5 other; null: not sent by the platform"),
    sa.Column("employment_industry", sa.BigInteger(), nullable=True, comment="0 none … 16 other; null: not sent by the platform"),
    sa.Column("education_level", sa.BigInteger(), nullable=True, comment="0 none … 4 PhD, 5 other; null: not sent by the platform"),
    sa.Column("source_of_wealth", sa.BigInteger(), nullable=True, comment="0 employment or business, 1 savings or investments, 2 gifts or inheritance, 3 other; null: not sent by the platform"),
    sa.Column("net_worth", sa.Numeric(), nullable=True, comment="estimated net worth, currency not documented; null: not sent by the platform"),
    sa.Column("annual_income", sa.Numeric(), nullable=True, comment="yearly income, currency not documented; null: not sent by the platform"),
    sa.Column("annual_deposit", sa.Numeric(), nullable=True, comment="expected deposits a year, currency not documented; null: not sent by the platform"),
    sa.Column("forex_experience", sa.BigInteger(), nullable=True, comment="0 under one year, 1 one to three years, 2 over five years; null: not sent by the platform"),
    sa.Column("stocks_experience", sa.BigInteger(), nullable=True, comment="0 under one year, 1 one to three years, 2 over five years; null: not sent by the platform"),
    sa.Column("cfd_experience", sa.BigInteger(), nullable=True, comment="0 under one year, 1 one to three years, 2 over five years; null: not sent by the platform"),
    sa.Column("futures_experience", sa.BigInteger(), nullable=True, comment="0 under one year, 1 one to three years, 2 over five years; null: not sent by the platform"),
    sa.Column("user_id", sa.BigInteger(), nullable=True, comment="login identity of the client; null: not sent by the platform"),
    sa.Column("accounts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="the client's accounts when the platform expands them, passwords removed; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform created the record; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("clients_pkey")),
    schema="mirror",
    comment="People and companies that own accounts"
    )
    op.create_index(op.f("clients_platform_external_id_idx"), "clients", ["platform", "external_id"], unique=False, schema="mirror")
    op.create_index(op.f("clients_version_idx"), "clients", ["version"], unique=False, schema="mirror")
    op.create_table("commissions",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("group_id", sa.BigInteger(), nullable=True, comment="groups.id of the owner; null: not sent by the platform"),
    sa.Column("symbol_class_id", sa.BigInteger(), nullable=True, comment="asset class that it applies to; null: not sent by the platform"),
    sa.Column("name", sa.Text(), nullable=True, comment="label; null: not sent by the platform"),
    sa.Column("desc", sa.Text(), nullable=True, comment="description; null: not sent by the platform"),
    sa.Column("mode", sa.BigInteger(), nullable=True, comment="calculation mode; values not documented; null: not sent by the platform"),
    sa.Column("mode_range", sa.BigInteger(), nullable=True, comment="what a tier's range measures; values not documented; null: not sent by the platform"),
    sa.Column("mode_charge", sa.BigInteger(), nullable=True, comment="per order, unit or percent; values not documented; null: not sent by the platform"),
    sa.Column("mode_entry", sa.BigInteger(), nullable=True, comment="charged on entry; values not documented; null: not sent by the platform"),
    sa.Column("mode_action", sa.BigInteger(), nullable=True, comment="buy, sell or both; values not documented; null: not sent by the platform"),
    sa.Column("mode_profit", sa.BigInteger(), nullable=True, comment="tied to profit; values not documented; null: not sent by the platform"),
    sa.Column("mode_reason", sa.BigInteger(), nullable=True, comment="which trade reasons count; values not documented; null: not sent by the platform"),
    sa.Column("commission_tiers", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="array of mode, type, value, range_from (inclusive), range_to (exclusive), min, max, currency; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform created the record; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("commissions_pkey")),
    schema="mirror",
    comment="Commission set-ups of groups"
    )
    op.create_index(op.f("commissions_version_idx"), "commissions", ["version"], unique=False, schema="mirror")
    op.create_table("deals",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("external_id", sa.Text(), nullable=True, comment="the liquidity provider's reference, not the CRM's; null: not sent by the platform"),
    sa.Column("account_id", sa.BigInteger(), nullable=True, comment="accounts.id; null: not sent by the platform"),
    sa.Column("dealer_id", sa.BigInteger(), nullable=True, comment="dealer who handled it; null: not sent by the platform"),
    sa.Column("order_id", sa.BigInteger(), nullable=True, comment="orders.id; 0: none; null: not sent by the platform"),
    sa.Column("action", sa.BigInteger(), nullable=True, comment="values not documented; null: not sent by the platform"),
    sa.Column("entry", sa.BigInteger(), nullable=True, comment="in or out; values not documented; null: not sent by the platform"),
    sa.Column("reason", sa.BigInteger(), nullable=True, comment="0 client … 19 migration; null: not sent by the platform"),
    sa.Column("digits", sa.BigInteger(), nullable=True, comment="price decimals; null: not sent by the platform"),
    sa.Column("digits_currency", sa.BigInteger(), nullable=True, comment="money decimals; null: not sent by the platform"),
    sa.Column("contract_size", sa.Numeric(), nullable=True, comment="base units per lot; null: not sent by the platform"),
    sa.Column("symbol_id", sa.BigInteger(), nullable=True, comment="symbols.id; 0: none; null: not sent by the platform"),
    sa.Column("price", sa.Numeric(), nullable=True, comment="execution price; null: not sent by the platform"),
    sa.Column("external_volume", sa.Numeric(), nullable=True, comment="liquidity provider's volume; null: not sent by the platform"),
    sa.Column("profit", sa.Numeric(), nullable=True, comment="account currency; realised; null: not sent by the platform"),
    sa.Column("storage", sa.Numeric(), nullable=True, comment="account currency; overnight charge; null: not sent by the platform"),
    sa.Column("commission", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("profit_raw", sa.Numeric(), nullable=True, comment="account currency; before adjustments; null: not sent by the platform"),
    sa.Column("price_position", sa.Numeric(), nullable=True, comment="price of the position; null: not sent by the platform"),
    sa.Column("price_sl", sa.Numeric(), nullable=True, comment="stop loss; null: none set, or not sent"),
    sa.Column("price_tp", sa.Numeric(), nullable=True, comment="take profit; null: none set, or not sent"),
    sa.Column("external_volume_closed", sa.Numeric(), nullable=True, comment="liquidity provider's volume; null: not sent by the platform"),
    sa.Column("tick_value", sa.Numeric(), nullable=True, comment="value of a tick; null: not sent by the platform"),
    sa.Column("tick_size", sa.Numeric(), nullable=True, comment="smallest price change; null: not sent by the platform"),
    sa.Column("volume", sa.Numeric(), nullable=True, comment="lots; null: not sent by the platform"),
    sa.Column("closed_volume", sa.Numeric(), nullable=True, comment="lots closed; null: not sent by the platform"),
    sa.Column("position_id", sa.BigInteger(), nullable=True, comment="positions.id; 0: none; null: not sent by the platform"),
    sa.Column("comment", sa.Text(), nullable=True, comment="free text; null: not sent by the platform"),
    sa.Column("swap", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("fee", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("market_bid", sa.Numeric(), nullable=True, comment="bid at execution; null: not sent by the platform"),
    sa.Column("market_ask", sa.Numeric(), nullable=True, comment="ask at execution; null: not sent by the platform"),
    sa.Column("market_last", sa.Numeric(), nullable=True, comment="last price at execution; null: not sent by the platform"),
    sa.Column("side", sa.BigInteger(), nullable=True, comment="0 buy, 1 sell, 2 balance, 3 credit; null: not sent by the platform"),
    sa.Column("direction", sa.BigInteger(), nullable=True, comment="0 in, 1 out; null: not sent by the platform"),
    sa.Column("channel", sa.BigInteger(), nullable=True, comment="0 mobile, 1 web, 2 desktop, 3 api, 4 script, 5 system, 6 sdk; null: not sent by the platform"),
    sa.Column("account", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="the account when the platform expands it, passwords removed; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="execution time; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("symbol", sa.Text(), nullable=True, comment="code such as EURUSD; null: the symbol is not mirrored yet"),
    sa.Column("volume_base", sa.Numeric(), nullable=True, comment="base units: volume * contract_size; null: one of them was not sent"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("deals_pkey")),
    schema="mirror",
    comment="Ledger of executions and balance operations"
    )
    op.create_index("deals_unnamed_idx", "deals", ["platform", "symbol_id"], unique=False, schema="mirror", postgresql_where=sa.text("symbol IS NULL AND symbol_id <> 0"))
    op.create_index(op.f("deals_platform_account_id_idx"), "deals", ["platform", "account_id"], unique=False, schema="mirror")
    op.create_index(op.f("deals_version_idx"), "deals", ["version"], unique=False, schema="mirror")
    op.create_table("group_symbols",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("group_id", sa.BigInteger(), nullable=True, comment="groups.id; null: not sent by the platform"),
    sa.Column("symbol_id", sa.BigInteger(), nullable=True, comment="symbols.id; null: not sent by the platform"),
    sa.Column("symbol", sa.Text(), nullable=True, comment="code such as USDCHF; null: not sent by the platform"),
    sa.Column("desc", sa.Text(), nullable=True, comment="long name; null: not sent by the platform"),
    sa.Column("isin", sa.Text(), nullable=True, comment="ISIN or internal code; null: not sent by the platform"),
    sa.Column("base_currency", sa.Text(), nullable=True, comment="base currency; null: not sent by the platform"),
    sa.Column("quote_currency", sa.Text(), nullable=True, comment="quote currency; null: not sent by the platform"),
    sa.Column("symbol_scale", sa.BigInteger(), nullable=True, comment="digits of the base currency; null: not sent by the platform"),
    sa.Column("quote_scale", sa.BigInteger(), nullable=True, comment="digits of the quote currency; null: not sent by the platform"),
    sa.Column("broker_fee", sa.Numeric(), nullable=True, comment="fee per trade; null: not sent by the platform"),
    sa.Column("maker_fee", sa.Numeric(), nullable=True, comment="fee per trade; null: not sent by the platform"),
    sa.Column("symbol_class", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="asset class: id, parent_id, desc …; null: not sent by the platform"),
    sa.Column("symbol_class_id", sa.BigInteger(), nullable=True, comment="asset class id; null: not sent by the platform"),
    sa.Column("margin_flags", sa.BigInteger(), nullable=True, comment="bit flags; null: not sent by the platform"),
    sa.Column("margin_initial", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_maintenance", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_buy", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_sell", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_hedged", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("buy_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("sell_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("buy_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("sell_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("buy_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("sell_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_margin_buy", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("maintenance_margin_sell", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("maintenance_buy_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_sell_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_buy_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_sell_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_buy_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_sell_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("enabled", sa.Boolean(), nullable=True, comment="tradable; null: not sent by the platform"),
    sa.Column("trade_level", sa.BigInteger(), nullable=True, comment="0 full, 1 buy, 2 sell, 3 close, 4 disabled; null: not sent by the platform"),
    sa.Column("status", sa.BigInteger(), nullable=True, comment="0 enabled, 1 disabled … 6 time limit expired; null: not sent by the platform"),
    sa.Column("execution", sa.BigInteger(), nullable=True, comment="0 instant, 1 request, 2 market, 3 exchange; null: not sent by the platform"),
    sa.Column("gtc", sa.BigInteger(), nullable=True, comment="policy flag; null: not sent by the platform"),
    sa.Column("filling", sa.BigInteger(), nullable=True, comment="0 fill or kill, 1 immediate or cancel; null: not sent by the platform"),
    sa.Column("expiration", sa.Text(), nullable=True, comment="expiration policies allowed, comma list; null: not sent by the platform"),
    sa.Column("orders", sa.Text(), nullable=True, comment="order types allowed, comma list; null: not sent by the platform"),
    sa.Column("min_value", sa.Numeric(), nullable=True, comment="smallest volume, lots; null: not sent by the platform"),
    sa.Column("max_value", sa.Numeric(), nullable=True, comment="largest volume, lots; null: not sent by the platform"),
    sa.Column("step", sa.Numeric(), nullable=True, comment="volume step, lots; null: not sent by the platform"),
    sa.Column("swaps_enabled", sa.Boolean(), nullable=True, comment="whether overnight charges apply; null: not sent by the platform"),
    sa.Column("swap_type", sa.BigInteger(), nullable=True, comment="0 points, 1 money, 2 current price, 3 open price; null: not sent by the platform"),
    sa.Column("swap_long", sa.Numeric(), nullable=True, comment="overnight charge of a long position, in the unit of swap_type; null: not sent by the platform"),
    sa.Column("swap_short", sa.Numeric(), nullable=True, comment="overnight charge of a short position, in the unit of swap_type; null: not sent by the platform"),
    sa.Column("swap_days", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="factor per weekday, as sent; null: not sent by the platform"),
    sa.Column("swap_days_year", sa.BigInteger(), nullable=True, comment="days of a year for the overnight charge; null: not sent by the platform"),
    sa.Column("digits", sa.BigInteger(), nullable=True, comment="price decimals; null: not sent by the platform"),
    sa.Column("contract_size", sa.Numeric(), nullable=True, comment="base units per lot; null: not sent by the platform"),
    sa.Column("calculation", sa.BigInteger(), nullable=True, comment="0 forex, 1 forex no leverage, 2 CFD, 3 CFD leverage, 4 futures; null: not sent by the platform"),
    sa.Column("spread", sa.BigInteger(), nullable=True, comment="points; null: not sent by the platform"),
    sa.Column("spread_balance", sa.BigInteger(), nullable=True, comment="points; null: not sent by the platform"),
    sa.Column("stop_level", sa.BigInteger(), nullable=True, comment="points; null: not sent by the platform"),
    sa.Column("tick_size", sa.Numeric(), nullable=True, comment="smallest price change; null: not sent by the platform"),
    sa.Column("tick_value", sa.Numeric(), nullable=True, comment="value of a tick; null: not sent by the platform"),
    sa.Column("conversion_currency", sa.Text(), nullable=True, comment="currency of the conversion; null: not sent by the platform"),
    sa.Column("conversion_type", sa.BigInteger(), nullable=True, comment="0 multiply, 1 divide; null: not sent by the platform"),
    sa.Column("symbol_map", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("quote_sessions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("trade_sessions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("time_limit", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("timeout", sa.BigInteger(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("max_loss_deviation", sa.Numeric(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("max_profit_deviation", sa.Numeric(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("max_time_deviation", sa.Numeric(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("delay", sa.BigInteger(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("larger_leg_enabled", sa.Boolean(), nullable=True, comment="margin of the larger leg only; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform created the record; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("group_symbols_pkey")),
    schema="mirror",
    comment="Terms of a symbol for the accounts of one group"
    )
    op.create_index(op.f("group_symbols_version_idx"), "group_symbols", ["version"], unique=False, schema="mirror")
    op.create_table("groups",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("root", sa.Boolean(), nullable=True, comment="root groups override their children; null: not sent by the platform"),
    sa.Column("parent_id", sa.BigInteger(), nullable=True, comment="groups.id of the parent; 0 for a root; null: not sent by the platform"),
    sa.Column("group_type", sa.BigInteger(), nullable=True, comment="0 client, 1 admin; null: not sent by the platform"),
    sa.Column("desc", sa.Text(), nullable=True, comment="display name; null: not sent by the platform"),
    sa.Column("status", sa.Text(), nullable=True, comment="free text; null: not sent by the platform"),
    sa.Column("currency", sa.Text(), nullable=True, comment="currency of the group's accounts; null: not sent by the platform"),
    sa.Column("currency_digits", sa.BigInteger(), nullable=True, comment="digits after the decimal point of that currency; null: not sent by the platform"),
    sa.Column("default_leverage", sa.BigInteger(), nullable=True, comment="1:x; null: not sent by the platform"),
    sa.Column("limit_history", sa.BigInteger(), nullable=True, comment="null: no limit, or not sent"),
    sa.Column("limit_orders", sa.BigInteger(), nullable=True, comment="pending orders allowed; null: no limit, or not sent"),
    sa.Column("limit_positions", sa.BigInteger(), nullable=True, comment="open positions allowed; null: no limit, or not sent"),
    sa.Column("limit_positions_volume", sa.BigInteger(), nullable=True, comment="open volume allowed, lots; null: no limit, or not sent"),
    sa.Column("limit_symbols", sa.BigInteger(), nullable=True, comment="symbols allowed; null: no limit, or not sent"),
    sa.Column("margin_mode", sa.BigInteger(), nullable=True, comment="0 percentage, 1 money; null: not sent by the platform"),
    sa.Column("margin_call", sa.Numeric(), nullable=True, comment="level of the margin call, in the unit of margin_mode; null: not sent by the platform"),
    sa.Column("margin_stop_out", sa.Numeric(), nullable=True, comment="level of the stop out, in the unit of margin_mode; null: not sent by the platform"),
    sa.Column("full_stop_out", sa.Boolean(), nullable=True, comment="true: a stop out closes everything; null: not sent by the platform"),
    sa.Column("compensate_negative_balance", sa.Boolean(), nullable=True, comment="whether the broker makes up for a negative balance; null: not sent by the platform"),
    sa.Column("groups", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="child groups when the platform nests them; each is a row of its own too; null: not sent by the platform"),
    sa.Column("trade_accounts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="accounts when the platform expands them, passwords removed; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform created the record; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("groups_pkey")),
    schema="mirror",
    comment="Account groups and their trading conditions"
    )
    op.create_index(op.f("groups_version_idx"), "groups", ["version"], unique=False, schema="mirror")
    op.create_table("orders",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("user_id", sa.BigInteger(), nullable=True, comment="who placed it; null: not sent by the platform"),
    sa.Column("account_id", sa.BigInteger(), nullable=True, comment="accounts.id; null: not sent by the platform"),
    sa.Column("symbol_id", sa.BigInteger(), nullable=True, comment="symbols.id; null: not sent by the platform"),
    sa.Column("position_id", sa.BigInteger(), nullable=True, comment="positions.id; 0 or null: none yet"),
    sa.Column("position_by_id", sa.BigInteger(), nullable=True, comment="opposite position of a close-by; 0 or null: none"),
    sa.Column("dealer_id", sa.BigInteger(), nullable=True, comment="dealer who handled it; null: not sent by the platform"),
    sa.Column("type", sa.BigInteger(), nullable=True, comment="0 market, 1 buy limit, 2 buy stop, 3 sell limit, 4 sell stop, 5 and 6 stop limits; null: not sent by the platform"),
    sa.Column("side", sa.BigInteger(), nullable=True, comment="0 buy, 1 sell; null: not sent by the platform"),
    sa.Column("status", sa.BigInteger(), nullable=True, comment="0 placed, 1 started, 2 partially filled, 3 filled, 4 cancelled, 5 rejected, 6 expired, 7 requoted; null: not sent by the platform"),
    sa.Column("reason", sa.BigInteger(), nullable=True, comment="0 client … 19 migration; null: not sent by the platform"),
    sa.Column("type_fill", sa.BigInteger(), nullable=True, comment="0 fill or kill, 1 immediate or cancel; null: not sent by the platform"),
    sa.Column("type_time", sa.BigInteger(), nullable=True, comment="as sent; values not documented; null: not sent by the platform"),
    sa.Column("expiration_policy", sa.BigInteger(), nullable=True, comment="0 GTC, 1 day, 2 specified time, 3 specified day; null: not sent by the platform"),
    sa.Column("volume_initial", sa.Numeric(), nullable=True, comment="lots ordered; null: not sent by the platform"),
    sa.Column("volume_current", sa.Numeric(), nullable=True, comment="lots not filled yet; null: not sent by the platform"),
    sa.Column("volume_initial_ext", sa.Numeric(), nullable=True, comment="liquidity provider's volume; null: not sent by the platform"),
    sa.Column("volume_current_ext", sa.Numeric(), nullable=True, comment="liquidity provider's volume; null: not sent by the platform"),
    sa.Column("price_order", sa.Numeric(), nullable=True, comment="price asked for; null: not sent by the platform"),
    sa.Column("price_trigger", sa.Numeric(), nullable=True, comment="trigger of a stop limit; null: not sent by the platform"),
    sa.Column("price_current", sa.Numeric(), nullable=True, comment="market price; null: not sent by the platform"),
    sa.Column("price_sl", sa.Numeric(), nullable=True, comment="stop loss; null: none set, or not sent"),
    sa.Column("price_tp", sa.Numeric(), nullable=True, comment="take profit; null: none set, or not sent"),
    sa.Column("rate_margin", sa.Numeric(), nullable=True, comment="conversion to account currency; null: not sent by the platform"),
    sa.Column("contract_size", sa.Numeric(), nullable=True, comment="base units per lot; null: not sent by the platform"),
    sa.Column("digits", sa.BigInteger(), nullable=True, comment="price decimals; null: not sent by the platform"),
    sa.Column("digits_currency", sa.BigInteger(), nullable=True, comment="money decimals; null: not sent by the platform"),
    sa.Column("exit_level", sa.BigInteger(), nullable=True, comment="0 nothing, 1 profit, 2 loss, 3 script; null: not sent by the platform"),
    sa.Column("exit_profit", sa.Numeric(), nullable=True, comment="exit threshold; null: not sent by the platform"),
    sa.Column("exit_loss", sa.Numeric(), nullable=True, comment="exit threshold; null: not sent by the platform"),
    sa.Column("comment", sa.Text(), nullable=True, comment="free text; null: not sent by the platform"),
    sa.Column("external_id", sa.Text(), nullable=True, comment="the liquidity provider's reference, not the CRM's; null: not sent by the platform"),
    sa.Column("time_setup", sa.DateTime(timezone=True), nullable=True, comment="when it was placed; null: not sent by the platform"),
    sa.Column("time_expiration", sa.DateTime(timezone=True), nullable=True, comment="when it expires; null: it does not, or not sent"),
    sa.Column("time_done", sa.DateTime(timezone=True), nullable=True, comment="when it was filled or withdrawn; null: still live, or not sent"),
    sa.Column("account", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="the account when the platform expands it, passwords removed; null: not sent by the platform"),
    sa.Column("position", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="the position when the platform expands it; null: not sent by the platform"),
    sa.Column("position_by", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="the opposite position when the platform expands it; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform created the record; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("symbol", sa.Text(), nullable=True, comment="code such as EURUSD; null: the symbol is not mirrored yet"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("orders_pkey")),
    schema="mirror",
    comment="Live orders and their history"
    )
    op.create_index("orders_live_idx", "orders", ["platform", "id"], unique=False, schema="mirror", postgresql_where=sa.text("(status IS NULL OR status NOT IN (3, 4, 5, 6)) AND deleted_at IS NULL"))
    op.create_index("orders_unnamed_idx", "orders", ["platform", "symbol_id"], unique=False, schema="mirror", postgresql_where=sa.text("symbol IS NULL AND symbol_id <> 0"))
    op.create_index(op.f("orders_platform_account_id_idx"), "orders", ["platform", "account_id"], unique=False, schema="mirror")
    op.create_index(op.f("orders_version_idx"), "orders", ["version"], unique=False, schema="mirror")
    op.create_table("positions",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("external_id", sa.Text(), nullable=True, comment="the liquidity provider's reference, not the CRM's; null: not sent by the platform"),
    sa.Column("account_id", sa.BigInteger(), nullable=True, comment="accounts.id; null: not sent by the platform"),
    sa.Column("dealer_id", sa.BigInteger(), nullable=True, comment="dealer who handled it; null: not sent by the platform"),
    sa.Column("symbol_id", sa.BigInteger(), nullable=True, comment="symbols.id; null: not sent by the platform"),
    sa.Column("action", sa.BigInteger(), nullable=True, comment="values not documented; null: not sent by the platform"),
    sa.Column("digits", sa.BigInteger(), nullable=True, comment="price decimals; null: not sent by the platform"),
    sa.Column("digits_currency", sa.BigInteger(), nullable=True, comment="money decimals; null: not sent by the platform"),
    sa.Column("reason", sa.BigInteger(), nullable=True, comment="0 client … 19 migration; null: not sent by the platform"),
    sa.Column("contract_size", sa.Numeric(), nullable=True, comment="base units per lot; null: not sent by the platform"),
    sa.Column("price_open", sa.Numeric(), nullable=True, comment="opening price; null: not sent by the platform"),
    sa.Column("price_current", sa.Numeric(), nullable=True, comment="market price; null: not sent by the platform"),
    sa.Column("price_sl", sa.Numeric(), nullable=True, comment="stop loss; null: none set, or not sent"),
    sa.Column("price_tp", sa.Numeric(), nullable=True, comment="take profit; null: none set, or not sent"),
    sa.Column("profit", sa.Numeric(), nullable=True, comment="account currency; floating while open; null: not sent by the platform"),
    sa.Column("exit_level", sa.Numeric(), nullable=True, comment="see the reference: close price or exit level, the sources disagree; null: not sent by the platform"),
    sa.Column("exit_profit", sa.Numeric(), nullable=True, comment="account currency; realised when closed; null: not sent by the platform"),
    sa.Column("exit_loss", sa.Numeric(), nullable=True, comment="account currency; realised when closed; null: not sent by the platform"),
    sa.Column("storage", sa.Numeric(), nullable=True, comment="account currency; overnight charge; null: not sent by the platform"),
    sa.Column("rate_profit", sa.Numeric(), nullable=True, comment="conversion to account currency; null: not sent by the platform"),
    sa.Column("rate_margin", sa.Numeric(), nullable=True, comment="conversion to account currency; null: not sent by the platform"),
    sa.Column("comment", sa.Text(), nullable=True, comment="free text; null: not sent by the platform"),
    sa.Column("volume_initial_ext", sa.Numeric(), nullable=True, comment="liquidity provider's volume; null: not sent by the platform"),
    sa.Column("volume_current_ext", sa.Numeric(), nullable=True, comment="liquidity provider's volume; null: not sent by the platform"),
    sa.Column("volume_initial", sa.Numeric(), nullable=True, comment="lots opened; null: not sent by the platform"),
    sa.Column("volume_current", sa.Numeric(), nullable=True, comment="lots still open; null: not sent by the platform"),
    sa.Column("swaps", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("commission", sa.Numeric(), nullable=True, comment="account currency; null: not sent by the platform"),
    sa.Column("total_profit", sa.Numeric(), nullable=True, comment="account currency; with swaps and commission; null: not sent by the platform"),
    sa.Column("side", sa.BigInteger(), nullable=True, comment="0 buy, 1 sell; null: not sent by the platform"),
    sa.Column("status", sa.BigInteger(), nullable=True, comment="0 open, 1 closing, 2 closed; null: not sent by the platform"),
    sa.Column("account", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="the account when the platform expands it, passwords removed; null: not sent by the platform"),
    sa.Column("deals", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="the deals when the platform expands them; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when it was opened; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; of a closed position, when it closed; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("symbol", sa.Text(), nullable=True, comment="code such as EURUSD; null: the symbol is not mirrored yet"),
    sa.Column("volume_base", sa.Numeric(), nullable=True, comment="base units still open: volume_current * contract_size; null: one of them was not sent"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("positions_pkey")),
    schema="mirror",
    comment="Open positions and their history"
    )
    op.create_index("positions_open_idx", "positions", ["platform", "id"], unique=False, schema="mirror", postgresql_where=sa.text("status IS DISTINCT FROM 2 AND deleted_at IS NULL"))
    op.create_index("positions_unnamed_idx", "positions", ["platform", "symbol_id"], unique=False, schema="mirror", postgresql_where=sa.text("symbol IS NULL AND symbol_id <> 0"))
    op.create_index(op.f("positions_platform_account_id_idx"), "positions", ["platform", "account_id"], unique=False, schema="mirror")
    op.create_index(op.f("positions_version_idx"), "positions", ["version"], unique=False, schema="mirror")
    op.create_table("symbols",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("symbol", sa.Text(), nullable=True, comment="code such as USDCHF; null: not sent by the platform"),
    sa.Column("desc", sa.Text(), nullable=True, comment="long name; null: not sent by the platform"),
    sa.Column("isin", sa.Text(), nullable=True, comment="ISIN or internal code; null: not sent by the platform"),
    sa.Column("base_currency", sa.Text(), nullable=True, comment="base currency; null: not sent by the platform"),
    sa.Column("quote_currency", sa.Text(), nullable=True, comment="quote currency; null: not sent by the platform"),
    sa.Column("symbol_scale", sa.BigInteger(), nullable=True, comment="digits of the base currency; null: not sent by the platform"),
    sa.Column("quote_scale", sa.BigInteger(), nullable=True, comment="digits of the quote currency; null: not sent by the platform"),
    sa.Column("broker_fee", sa.Numeric(), nullable=True, comment="fee per trade; null: not sent by the platform"),
    sa.Column("maker_fee", sa.Numeric(), nullable=True, comment="fee per trade; null: not sent by the platform"),
    sa.Column("symbol_class", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="asset class: id, parent_id, desc …; null: not sent by the platform"),
    sa.Column("symbol_class_id", sa.BigInteger(), nullable=True, comment="asset class id; null: not sent by the platform"),
    sa.Column("margin_flags", sa.BigInteger(), nullable=True, comment="bit flags; null: not sent by the platform"),
    sa.Column("margin_initial", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_maintenance", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_buy", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_sell", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("margin_hedged", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("buy_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("sell_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("buy_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("sell_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("buy_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("sell_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_margin_buy", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("maintenance_margin_sell", sa.Numeric(), nullable=True, comment="margin rate; null: not sent by the platform"),
    sa.Column("maintenance_buy_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_sell_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_buy_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_sell_stop", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_buy_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("maintenance_sell_stop_limit", sa.Numeric(), nullable=True, comment="margin rate of that order type; null: not sent by the platform"),
    sa.Column("enabled", sa.Boolean(), nullable=True, comment="tradable; null: not sent by the platform"),
    sa.Column("trade_level", sa.BigInteger(), nullable=True, comment="0 full, 1 buy, 2 sell, 3 close, 4 disabled; null: not sent by the platform"),
    sa.Column("status", sa.BigInteger(), nullable=True, comment="0 enabled, 1 disabled … 6 time limit expired; null: not sent by the platform"),
    sa.Column("execution", sa.BigInteger(), nullable=True, comment="0 instant, 1 request, 2 market, 3 exchange; null: not sent by the platform"),
    sa.Column("gtc", sa.BigInteger(), nullable=True, comment="policy flag; null: not sent by the platform"),
    sa.Column("filling", sa.BigInteger(), nullable=True, comment="0 fill or kill, 1 immediate or cancel; null: not sent by the platform"),
    sa.Column("expiration", sa.Text(), nullable=True, comment="expiration policies allowed, comma list; null: not sent by the platform"),
    sa.Column("orders", sa.Text(), nullable=True, comment="order types allowed, comma list; null: not sent by the platform"),
    sa.Column("min_value", sa.Numeric(), nullable=True, comment="smallest volume, lots; null: not sent by the platform"),
    sa.Column("max_value", sa.Numeric(), nullable=True, comment="largest volume, lots; null: not sent by the platform"),
    sa.Column("step", sa.Numeric(), nullable=True, comment="volume step, lots; null: not sent by the platform"),
    sa.Column("swaps_enabled", sa.Boolean(), nullable=True, comment="whether overnight charges apply; null: not sent by the platform"),
    sa.Column("swap_type", sa.BigInteger(), nullable=True, comment="0 points, 1 money, 2 current price, 3 open price; null: not sent by the platform"),
    sa.Column("swap_long", sa.Numeric(), nullable=True, comment="overnight charge of a long position, in the unit of swap_type; null: not sent by the platform"),
    sa.Column("swap_short", sa.Numeric(), nullable=True, comment="overnight charge of a short position, in the unit of swap_type; null: not sent by the platform"),
    sa.Column("swap_days", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="factor per weekday, as sent; null: not sent by the platform"),
    sa.Column("swap_days_year", sa.BigInteger(), nullable=True, comment="days of a year for the overnight charge; null: not sent by the platform"),
    sa.Column("digits", sa.BigInteger(), nullable=True, comment="price decimals; null: not sent by the platform"),
    sa.Column("contract_size", sa.Numeric(), nullable=True, comment="base units per lot; null: not sent by the platform"),
    sa.Column("calculation", sa.BigInteger(), nullable=True, comment="0 forex, 1 forex no leverage, 2 CFD, 3 CFD leverage, 4 futures; null: not sent by the platform"),
    sa.Column("spread", sa.BigInteger(), nullable=True, comment="points; null: not sent by the platform"),
    sa.Column("spread_balance", sa.BigInteger(), nullable=True, comment="points; null: not sent by the platform"),
    sa.Column("stop_level", sa.BigInteger(), nullable=True, comment="points; null: not sent by the platform"),
    sa.Column("tick_size", sa.Numeric(), nullable=True, comment="smallest price change; null: not sent by the platform"),
    sa.Column("tick_value", sa.Numeric(), nullable=True, comment="value of a tick; null: not sent by the platform"),
    sa.Column("conversion_currency", sa.Text(), nullable=True, comment="currency of the conversion; null: not sent by the platform"),
    sa.Column("conversion_type", sa.BigInteger(), nullable=True, comment="0 multiply, 1 divide; null: not sent by the platform"),
    sa.Column("symbol_map", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("quote_sessions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("trade_sessions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("time_limit", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="as sent; null: not sent by the platform"),
    sa.Column("timeout", sa.BigInteger(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("max_loss_deviation", sa.Numeric(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("max_profit_deviation", sa.Numeric(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("max_time_deviation", sa.Numeric(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("delay", sa.BigInteger(), nullable=True, comment="as sent; unit not documented; null: not sent by the platform"),
    sa.Column("larger_leg_enabled", sa.Boolean(), nullable=True, comment="margin of the larger leg only; null: not sent by the platform"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform created the record; null: not sent by the platform"),
    sa.Column("created_by", sa.BigInteger(), nullable=True, comment="user who created the record; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed the record; null: not sent by the platform"),
    sa.Column("updated_by", sa.BigInteger(), nullable=True, comment="user who last changed the record; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("symbols_pkey")),
    schema="mirror",
    comment="Instruments and their contract terms"
    )
    op.create_index(op.f("symbols_version_idx"), "symbols", ["version"], unique=False, schema="mirror")
    op.create_table("transactions",
    sa.Column("platform", sa.Text(), nullable=False, comment="Name of the platform in the configuration; never null"),
    sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The platform's own id; never null"),
    sa.Column("account_id", sa.BigInteger(), nullable=True, comment="the account whose money moved: accounts.id; null: not sent by the platform"),
    sa.Column("side", sa.BigInteger(), nullable=True, comment="2 balance, 3 credit; null: not sent by the platform"),
    sa.Column("direction", sa.BigInteger(), nullable=True, comment="0 in, 1 out; null: not sent by the platform"),
    sa.Column("amount", sa.Numeric(), nullable=True, comment="account currency, signed: money in is positive; null: not sent by the platform"),
    sa.Column("currency", sa.Text(), nullable=True, comment="currency of the amount; null: unknown, the account has not been mirrored yet"),
    sa.Column("comment", sa.Text(), nullable=True, comment="free text as the platform keeps it; null: not sent by the platform"),
    sa.Column("reference", sa.Text(), nullable=True, comment="our own reference, when the comment carries one; null: not an operation of ours"),
    sa.Column("origin", sa.Text(), nullable=True, comment="platform, counterfoil (an operation of ours read back) or inferred; null: never"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform booked it; null: not sent by the platform"),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True, comment="when the platform last changed it; null: not sent by the platform"),
    sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Fields sent that have no column, as sent; null: there were none"),
    sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror first saw the row; never null"),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="When the mirror last changed the row; never null"),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="When the platform was found to have it no longer; null: it is there"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Grows with each change of any row of the mirror; never null"),
    sa.PrimaryKeyConstraint("platform", "id", name=op.f("transactions_pkey")),
    schema="mirror",
    comment="Money in and out of accounts, apart from trading"
    )
    op.create_index(op.f("transactions_platform_account_id_idx"), "transactions", ["platform", "account_id"], unique=False, schema="mirror")
    op.create_index(op.f("transactions_version_idx"), "transactions", ["version"], unique=False, schema="mirror")
    # fmt: on

    op.execute(TAKE_TURN)
    for statement in GRANTS:
        op.execute(statement)


def downgrade() -> None:
    """Back to nothing but the version table. The roles stay: other databases of the server may use them."""
    op.execute("DROP FUNCTION counterfoil.take_token")
    op.execute("DROP SCHEMA mirror CASCADE")
    op.execute(
        "DROP TABLE counterfoil.asked, counterfoil.budgets, counterfoil.cursors, counterfoil.freshness, counterfoil.leases, counterfoil.quarantine, counterfoil.sessions, counterfoil.slots, counterfoil.vanished"
    )
