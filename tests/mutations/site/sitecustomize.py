"""Seed a defect into the processes of a suite: Python imports this module first if its folder is on PYTHONPATH.

Only a process that runs a service is seeded; the load generator and the judge of the same suite run as they are.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[3]
DEFECT_VARIABLE = "SEEDED_DEFECTS"
"""Environment variable with names ``<module>.<function>`` of ``tests/mutations/seeds``, separated by commas."""
COMMANDS = frozenset({"cli", "lab"})
"""Other programs of the package: the command line and the load generator with the judge."""
EVERY_SERVICE = "messaging"
"""Module whose defects are seeded into all services; another module is named after its service."""


def seed_process(arguments: Sequence[str], defects: str) -> None:
    """Seed those of ``defects`` that the service has which ``arguments``, the command line of this process, run."""
    package, _, service = arguments[arguments.index("-m") + 1].partition(".") if "-m" in arguments else ("", "", "")
    if package != "prebook" or not service.isalpha() or service in COMMANDS:
        return
    sys.path.append(str(ROOT))
    for defect in filter(None, defects.split(",")):
        module, _, function = defect.partition(".")
        if module in {service, EVERY_SERVICE}:
            getattr(import_module(f"tests.mutations.seeds.{module}"), function)()


seed_process(sys.orig_argv, os.environ.get(DEFECT_VARIABLE, ""))
