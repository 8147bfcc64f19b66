"""Runs the migrations: on the connection that counterfoil.store.migrations opened, or as SQL."""

from alembic import context
from sqlalchemy import text

from counterfoil.store.migrations import LOCK_TIMEOUT, VERSION_SCHEMA, VERSION_TABLE
from counterfoil.store.write_tables import metadata

OPTIONS = {
    "target_metadata": metadata,
    "version_table": VERSION_TABLE,
    "version_table_schema": VERSION_SCHEMA,
    "include_schemas": True,
    "transaction_per_migration": True,
}

if context.is_offline_mode():
    # Named parameters: any other style doubles every per cent sign in what is printed.
    context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}")
        context.run_migrations()
else:
    connection = context.config.attributes["connection"]
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}"))
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
