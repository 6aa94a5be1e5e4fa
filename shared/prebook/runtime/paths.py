"""Where the files that go along with the code are, in a checkout and in an installed wheel."""

import os
from pathlib import Path

_INSTALLED = Path(__file__).resolve().parents[1] / "assets"
_CHECKOUT = Path(__file__).resolve().parents[3]


def migrations_dir() -> Path:
    """The folder that holds ``alembic.ini``."""
    return _first_existing(_INSTALLED / "migrations", _CHECKOUT / "migrations")


def couplings_file() -> Path:
    """The default plan and the policies of the flows: $PREBOOK_COUPLINGS, or the file that goes along with the code."""
    if given := os.environ.get("PREBOOK_COUPLINGS"):
        return Path(given)
    return _first_existing(_INSTALLED / "couplings.toml", _CHECKOUT / "deploy" / "couplings.toml")


def home_dir() -> Path:
    """Where a running suite leaves its whereabouts and its logs: $PREBOOK_HOME, or .prebook in the current folder."""
    return Path(os.environ.get("PREBOOK_HOME") or ".prebook").resolve()


def _first_existing(*candidates: Path) -> Path:
    return next((path for path in candidates if path.exists()), candidates[-1])
