"""What is published for the boundary's functions, what a platform's name is bound to, and which database this is."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from counterfoil.store.tables import metadata

_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")
PLATFORM = "Name of the platform in the configuration"


def own_table(name: str, *parts: "sa.schema.SchemaItem", comment: str) -> sa.Table:
    """A table of the daemon's own schema."""
    return sa.Table(name, metadata, *parts, schema="counterfoil", comment=comment)


def text_column(name: str, comment: str, *, key: bool = False, null: bool = False) -> "sa.Column[str]":
    """A text; the comment says what null means, or that it never is."""
    told = comment if null else f"{comment}; never null"
    return sa.Column(name, sa.Text, primary_key=key, nullable=null, comment=told)


def moment(name: str, comment: str, *, now: bool = False) -> "sa.Column[object]":
    """A time; `now`: of the insertion, never null."""
    if now:
        return sa.Column(name, _TIME, nullable=False, server_default=_NOW, comment=f"{comment}; never null")
    return sa.Column(name, _TIME, comment=comment)


PUBLISHED_RULES = own_table(
    "published_rules",
    sa.Column(
        "one", sa.Boolean, primary_key=True, server_default="true", comment="Always true: there is one row; never null"
    ),
    text_column("platform_choice", "required, or the platform where every registrant goes"),
    sa.Column("owned_fields", ARRAY(sa.Text), nullable=False, comment="Profile fields that the CRM owns; never null"),
    text_column("username", "Template of derived login names"),
    sa.Column("password_length", sa.Integer, nullable=False, comment="Of generated passwords; never null"),
    sa.Column("password_symbols", sa.Boolean, nullable=False, comment="Whether they hold symbols; never null"),
    sa.Column("sandbox_payouts", sa.Boolean, nullable=False, comment="crm.allow_sandbox_payouts; never null"),
    moment("published_at", "When `run` or `migrate` wrote it", now=True),
    sa.CheckConstraint("one", name="published_rules_one_row"),
    comment="The settings that the boundary's functions follow",
)

PUBLISHED_PLATFORMS = own_table(
    "published_platforms",
    text_column("platform", PLATFORM, key=True),
    text_column("kind", "Kind of its API"),
    sa.Column("configured", sa.Boolean, nullable=False, comment="Whether the settings still name it; never null"),
    sa.Column("pushes", sa.Boolean, nullable=False, comment="Whether it is written to; never null"),
    sa.Column("updates_accounts", sa.Boolean, nullable=False, comment="Whether crm.update_account works; never null"),
    sa.Column("account_defaults", JSONB, nullable=False, comment="Fields of a new account; never null"),
    moment("published_at", "When `run` or `migrate` wrote it", now=True),
    comment="The platforms that the boundary's functions know",
)

PUBLISHED_FIELDS = own_table(
    "published_fields",
    text_column("kind", "Kind of a platform's API", key=True),
    text_column("entity", "client or account", key=True),
    text_column("name", "Name of the field", key=True),
    text_column("type", "text, integer, number, boolean or date"),
    sa.Column("lowest", sa.Numeric, comment="Smallest value; null: any"),
    sa.Column("highest", sa.Numeric, comment="Largest value; null: any"),
    sa.Column("required", sa.Boolean, nullable=False, comment="Whether a new one needs it; never null"),
    sa.Column("updatable", sa.Boolean, nullable=False, comment="Whether it may be changed later; never null"),
    sa.Column("choices", ARRAY(sa.Text), comment="The only texts that it may hold; null: any"),
    comment="What a profile and an account may hold, for each kind of platform",
)

PLATFORM_STATE = own_table(
    "platform_state",
    text_column("platform", PLATFORM, key=True),
    text_column("kind", "Kind of its API, when it was bound; null: not bound yet", null=True),
    text_column("host", "Host and port that the name was bound to; null: not bound yet", null=True),
    sa.Column("manager_id", sa.BigInteger, comment="The manager's own account there; null: not bound yet"),
    sa.Column("sandbox", sa.Boolean, comment="Whether it is a simulator; null: not bound yet"),
    moment("bound_at", "When the first login bound the name; null: not bound yet"),
    text_column("paused", "Why nothing is written to it until a person resumes; null: it is not paused", null=True),
    text_column("reference_field", "The field that carries our references; null: nothing sent yet", null=True),
    moment("reference_since", "When that field last changed; null: never"),
    moment("writes_paused_until", "No request that changes anything before, the platform says; null: it never said so"),
    moment("reference_proven_at", "When one of our references was read back out of it; null: never"),
    comment="What a platform's name was bound to, and whether it may be written to",
)

DATABASE_IDENTITY = own_table(
    "database_identity",
    sa.Column(
        "one", sa.Boolean, primary_key=True, server_default="true", comment="Always true: there is one row; never null"
    ),
    text_column("identity", "System, timeline, database and table that the write path last worked on"),
    moment("held_since", "When another identity was met: nothing is written until a person agrees; null: all is well"),
    moment("accepted_at", "When a person last agreed that a restored database goes on; null: it never was restored"),
    sa.CheckConstraint("one", name="database_identity_one_row"),
    comment="How a restored or failed-over database is told from the one that the write path knows",
)
