"""Analytics: functions over the mirror for client areas and reports, and the indexes that make them quick."""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

# What the functions sum up: with it in the index, the rows need not be read.
LEDGER = (
    *("side", "direction", "profit", "commission", "swap", "storage", "fee", "commission_usd", "swap_usd"),
    "deleted_at",
)
OPEN = "status IS DISTINCT FROM 2 AND deleted_at IS NULL"


def _run(name: str) -> None:
    """Run a file of SQL: a statement ends with a semicolon before an empty line."""
    for statement in re.split(r";\n\n(?=\S)", (SQL / name).read_text(encoding="utf-8").rstrip().removesuffix(";")):
        # A colon before a name would be a parameter to SQLAlchemy.
        op.execute(sa.text(re.sub(r"(?<!:):(?=\w)", r"\\:", statement)))


def upgrade() -> None:
    _run("0004_analytics.sql")
    # Building an index holds up who writes the table, which daemons alone do and make up for, and no reader. Dropping one
    # holds up readers too: it comes last, just before the commit.
    op.create_index(
        "positions_open_account_idx",
        "positions",
        ["platform", "account_id"],
        schema="mirror",
        postgresql_where=sa.text(OPEN),
    )
    op.create_index(
        "deals_ledger_idx",
        "deals",
        ["platform", "account_id", "created_at"],
        schema="mirror",
        postgresql_include=LEDGER,
    )
    op.drop_index("deals_platform_account_id_idx", table_name="deals", schema="mirror")


def downgrade() -> None:
    op.execute("DROP SCHEMA analytics CASCADE")
    op.create_index("deals_platform_account_id_idx", "deals", ["platform", "account_id"], schema="mirror")
    op.drop_index("deals_ledger_idx", table_name="deals", schema="mirror", if_exists=True)
    op.drop_index("positions_open_account_idx", table_name="positions", schema="mirror")
