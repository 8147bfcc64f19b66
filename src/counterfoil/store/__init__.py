"""PostgreSQL: engine, tables, bulk writer, cursors, leases, budget. The only place that speaks SQL."""

from counterfoil.store.engine import Unreachable, brief

__all__ = ["Unreachable", "brief"]
