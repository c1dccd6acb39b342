"""The schema of the database: hand-written SQL, applied by Alembic in order."""
