"""The manifests of this checkout, and the model that they follow from."""

from functools import cache

from prebook.kubernetes.suite_model import SuiteModel, read_suite_model
from prebook.runtime.paths import kubernetes_dir

ROOT = kubernetes_dir()
COUPLINGS = ROOT.parent / "couplings.toml"


@cache
def suite_model() -> SuiteModel:
    """Return the model of the shipped policies and of the shipped cluster.toml."""
    return read_suite_model(COUPLINGS, ROOT / "cluster.toml")
