"""PostgreSQL adapters by SQLAlchemy Core over asyncpg. Every service sees its own schema by its role's search_path."""
