"""One real PostgreSQL, migrated for several services."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.matching.database import _migrate, _server


@contextmanager
def migrated_for(*services: str) -> Iterator[str]:
    """The administrator's URL; ``role_url`` makes a service's of it."""
    with _server() as admin_url:
        for service in services:
            _migrate(service, admin_url)
        yield admin_url


def role_url(admin_url: str, service: str) -> str:
    return admin_url.replace("postgres@", f"prebook_{service}@", 1)


def dsn(url: str) -> str:
    """As asyncpg takes it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)
