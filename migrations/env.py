"""Run the migrations over asyncpg (online mode only), and set the passwords of the services' roles."""

import asyncio
import json
import os
from pathlib import Path

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine


def setting(name: str, default: str = "") -> str:
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_text().strip() if file else os.environ.get(name, default)


def upgrade(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
        set_passwords(connection)


def set_passwords(connection: Connection) -> None:
    """Let each role log in. The server quotes the password, because ALTER ROLE takes no parameters."""
    passwords: dict[str, str] = json.loads(setting("PREBOOK_ROLE_PASSWORDS", "{}"))
    for service, password in passwords.items():
        role = f"prebook_{service}"
        if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}):
            continue
        quoted = connection.scalar(text("SELECT quote_literal(:password)"), {"password": password})
        connection.exec_driver_sql(f"ALTER ROLE {role} LOGIN PASSWORD {quoted}")


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
