"""Statements whose plans do not depend on how much PostgreSQL knows of the platform that they are about.

Of a platform that its figures of a table lack, because it was added since they were made, it expects not one row. Joins are cheap then
that pass over all rows of that platform for each row of another table: seconds for a page, until enough has changed for new figures.
"""

import sqlalchemy as sa

_KNOWN = "platform = :platform"
# A value that it learns only when it runs the statement: it expects an average platform.
_UNKNOWN = "platform = (SELECT CAST(:platform AS text))"


def of_any_platform(statement: str) -> sa.TextClause:
    """A statement that is planned for any platform, and run for `:platform`."""
    return sa.text(statement.replace(_KNOWN, _UNKNOWN))
