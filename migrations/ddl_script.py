"""Run the DDL of a service: ``ddl/messaging.sql``, which every schema has, ``ddl/<service>.sql``, and later changes."""

import re
from pathlib import Path

from alembic import op

FOLDER = Path(__file__).parent / "ddl"
STATEMENT_END = re.compile(r";\s*\n(?=\s*\n|\Z)")
"""A semicolon before an empty line. The driver runs one statement at a time, and functions have semicolons inside."""


def create(service: str) -> None:
    run("messaging", service)
    run(service, service)


def run(name: str, service: str) -> None:
    """Run the statements of ``ddl/<name>.sql`` in the schema of a service."""
    for statement in read_statements(name, service):
        # Not op.execute(text): a colon in the SQL would become a parameter.
        op.get_bind().exec_driver_sql(statement)


def drop(service: str) -> None:
    """Drop the schema with everything in it. The role stays: it belongs to the cluster, and other databases use it."""
    op.execute(f"DROP SCHEMA {service} CASCADE")


def read_statements(name: str, schema: str) -> list[str]:
    script = (FOLDER / f"{name}.sql").read_text().replace("{schema}", schema)
    return [statement for statement in STATEMENT_END.split(script) if statement.strip()]
