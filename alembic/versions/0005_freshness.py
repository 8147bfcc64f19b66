"""How busy a resource is, and the moment that its mirror shows: two columns of counterfoil.freshness."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SHOWS = (
    "The moment that the mirror shows where that is earlier than as_of: transactions are asked for by what accounts had shown;"
    " null: not known, then as_of"
)
BUSY = (
    "Start of the newest run that found a change, end of a failed one, or when events were last relied on at a run: the longer"
    " ago, the less often it is pulled; null: not known yet"
)


def upgrade() -> None:
    # Both may be null and nothing is computed: no row is rewritten.
    for name, comment in (("shows_at", SHOWS), ("busy_at", BUSY)):
        column = sa.Column(name, sa.DateTime(timezone=True), comment=comment)
        op.add_column("freshness", column, schema="counterfoil")


def downgrade() -> None:
    for name in ("busy_at", "shows_at"):
        op.drop_column("freshness", name, schema="counterfoil")
