"""Registry of all experiments, in the order in which `prebook lab all` runs them."""

from typing import Any

from prebook.lab.experiments.experiment import Experiment, Section
from prebook.lab.experiments.ordering.registration import ORDER

EXPERIMENTS: tuple[Experiment[Any], ...] = (ORDER,)


def find_experiments(section: Section | None) -> tuple[Experiment[Any], ...]:
    """Return the experiments of ``section``, or all if it is None."""
    return tuple(each for each in EXPERIMENTS if section in (None, each.section))
