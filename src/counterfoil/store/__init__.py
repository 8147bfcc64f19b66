"""PostgreSQL: engine, tables, bulk writer, cursors, leases, budget, queue. The only place that speaks SQL."""

from counterfoil.store.engine import Refused, Unreachable, brief

__all__ = ["Refused", "Unreachable", "brief"]
