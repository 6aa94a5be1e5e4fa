"""Run the migrations over asyncpg (online mode only), and set who may connect: the services' roles, up to a limit."""

import asyncio
import json
import os
from pathlib import Path

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from prebook.text_file import read_secret

NO_LIMIT = "-1"


def setting(name: str, default: str = "") -> str:
    file = os.environ.get(f"{name}_FILE")
    try:
        return read_secret(Path(file)) if file else os.environ.get(name, default)
    except OSError as error:
        raise SystemExit(f"{name}_FILE: {error}") from None


def upgrade(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
        set_up_access(connection)


def set_up_access(connection: Connection) -> None:
    """Let each role log in and connect to this database, and nobody else but its owner and administrators.

    A connection of any other role could notify the relays of the services and use up the server's connections.
    The server quotes the password, because ALTER ROLE takes no parameters.
    """
    passwords: dict[str, str] = json.loads(setting("PREBOOK_ROLE_PASSWORDS", "{}"))
    limit = int(setting("PREBOOK_ROLE_CONNECTIONS", NO_LIMIT))
    database = connection.scalar(text("SELECT quote_ident(current_database())"))
    if passwords:
        connection.exec_driver_sql(f"REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC")
    for service, password in passwords.items():
        role = f"prebook_{service}"
        if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}):
            continue
        quoted = connection.scalar(text("SELECT quote_literal(:password)"), {"password": password})
        connection.exec_driver_sql(f"ALTER ROLE {role} LOGIN CONNECTION LIMIT {limit} PASSWORD {quoted}")
        connection.exec_driver_sql(f"GRANT CONNECT ON DATABASE {database} TO {role}")


async def main() -> None:
    url = setting("PREBOOK_DATABASE_URL")
    if not url:
        raise SystemExit("PREBOOK_DATABASE_URL is missing: postgresql+asyncpg://user:password@host:port/database")
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
        await connection.commit()
    await engine.dispose()


asyncio.run(main())
