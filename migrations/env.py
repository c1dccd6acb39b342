"""Alembic's entry: runs the versions on the connection that `migrations.run.upgrade` has prepared.

All migrations of one upgrade are one transaction. From the shell, `alembic upgrade head` reads
PALIMPSEST_OWNER_URL and takes the same way in.
"""

import os

from alembic import context
from sqlalchemy import Connection

from migrations.guard import announce
from migrations.run import VERSION_SCHEMA, upgrade


def _run(connection: Connection) -> None:
    context.configure(connection=connection, version_table_schema=VERSION_SCHEMA)
    with context.begin_transaction():
        newest = context.get_head_revision()
        if context.get_context().get_current_revision() != newest:
            announce(connection, f"migration to {newest}")
        context.run_migrations()
    connection.commit()


prepared = context.config.attributes.get("connection")
if prepared is not None:
    _run(prepared)
elif context.is_offline_mode() or "PALIMPSEST_OWNER_URL" not in os.environ:
    raise SystemExit("set PALIMPSEST_OWNER_URL to the database to migrate; there is no offline mode")
else:
    upgrade(os.environ["PALIMPSEST_OWNER_URL"])
