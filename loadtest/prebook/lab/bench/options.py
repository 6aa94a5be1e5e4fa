"""What somebody wants of a run beyond its rounds: which plans, how many minutes, beside which checkout."""

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from prebook.contracts.plan import Coupling


@dataclass(frozen=True)
class BenchOptions:
    plans: tuple[str, ...] = tuple(coupling.value for coupling in Coupling)
    minutes: float = 10.0
    """Of the soak."""
    baseline_checkout: Path | None = None
    """Another checkout of the project, whose suite takes turns with ours."""
    save_baseline: Path | None = None
    """Where our figures go, or those of ``baseline_checkout``, to be compared with later."""


DEFAULTS = BenchOptions()
OPTIONS: ContextVar[BenchOptions] = ContextVar("bench_options", default=DEFAULTS)
