"""Alembic's entry: runs the versions on the connection that `migrations.run.upgrade` has prepared, and on no other.

All migrations of one upgrade are one transaction. Alembic's own commands come without what belongs to an upgrade: the lock, the
guard, the comparison of the catalog, and the word to whoever puts the change on record. So they are refused.
"""

from alembic import context
from sqlalchemy import Connection, text

from migrations.guard import announce
from migrations.run import VERSION_SCHEMA

_PATIENCE = "SET LOCAL lock_timeout = '2s'"
"""Appends queue behind a migration that waits for a reader to end, and a writer gives up after five seconds."""


def _run(connection: Connection) -> None:
    context.configure(connection=connection, version_table_schema=VERSION_SCHEMA)
    with context.begin_transaction():
        connection.execute(text(_PATIENCE))
        newest = context.get_head_revision()
        if context.get_context().get_current_revision() != newest:
            announce(connection, f"migration to {newest}")
        context.run_migrations()
    connection.commit()


prepared = context.config.attributes.get("connection")
if prepared is None:
    raise SystemExit(
        "alembic does not migrate this database by itself; run: "
        "python -c 'from migrations.run import upgrade; upgrade(\"postgresql://gov_owner:...\")'"
    )
_run(prepared)
