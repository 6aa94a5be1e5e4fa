"""Options of a bench run that only some subjects read."""

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from prebook.contracts.plan import Coupling


@dataclass(frozen=True)
class BenchOptions:
    """Options of the subjects ride and soak."""

    plans: tuple[str, ...] = tuple(coupling.value for coupling in Coupling)
    """Plans to measure."""
    minutes: float = 10.0
    """Duration of the soak."""
    baseline_checkout: Path | None = None
    """Older checkout whose suite is measured alternately with this one."""
    save_baseline: Path | None = None
    """File for the figures of this checkout, or of ``baseline_checkout``, as baseline of later runs."""


DEFAULTS = BenchOptions()
OPTIONS: ContextVar[BenchOptions] = ContextVar("bench_options", default=DEFAULTS)
"""Options of the present run, set by the command."""
