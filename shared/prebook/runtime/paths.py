"""Paths of data files, in a checkout and in an installed wheel."""

import os
from pathlib import Path

_INSTALLED = Path(__file__).resolve().parents[1] / "assets"
_CHECKOUT = Path(__file__).resolve().parents[3]


def migrations_dir() -> Path:
    """Folder of ``alembic.ini``."""
    return _first_existing(_INSTALLED / "migrations", _CHECKOUT / "migrations")


def couplings_file() -> Path:
    """File of the default plan and the policies of the flows: $PREBOOK_COUPLINGS, or the one shipped with the code."""
    if given := os.environ.get("PREBOOK_COUPLINGS"):
        return Path(given)
    return _first_existing(_INSTALLED / "couplings.toml", _CHECKOUT / "deploy" / "couplings.toml")


def checkout_dir() -> Path:
    """Folder of the checkout that this code runs from; of no use in an installed wheel."""
    return _CHECKOUT


def kubernetes_dir() -> Path:
    """Folder of the Kubernetes manifests in a checkout; an installed wheel has none."""
    return _CHECKOUT / "deploy" / "kubernetes"


def ride_figures_files() -> list[Path]:
    """Files of a checkout with operations of a ride, as benchmarks have counted them; an installed wheel has none."""
    return sorted((_CHECKOUT / "docs" / "results").glob("ride-*.json"))


def home_dir() -> Path:
    """Folder of a running suite's state file and logs: $PREBOOK_HOME, or .prebook in the current folder."""
    return Path(os.environ.get("PREBOOK_HOME") or ".prebook").resolve()


def _first_existing(*candidates: Path) -> Path:
    return next((path for path in candidates if path.exists()), candidates[-1])
