"""PostgreSQL: engine, tables, bulk writer, cursors, leases, budget, queue. The only place that speaks SQL."""

from counterfoil.store.engine import Refused, Unreachable, Unstorable, brief, is_contention, let_end, whole

__all__ = ["Refused", "Unreachable", "Unstorable", "brief", "is_contention", "let_end", "whole"]
