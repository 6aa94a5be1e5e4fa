"""Database URLs: SQLAlchemy's spelling, which the settings have, and asyncpg's."""


def asyncpg_dsn(database_url: str) -> str:
    """The URL as ``asyncpg.connect`` takes it, without the driver that SQLAlchemy reads from ``postgresql+asyncpg``."""
    return database_url.replace("postgresql+asyncpg://", "postgresql://", 1)
