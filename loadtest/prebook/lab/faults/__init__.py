"""What is broken on purpose: a catalogue of described values, and for each the proof that it took effect.

``available`` tells what the running suite can be given, ``inject`` breaks one thing for a time and undoes it.
"""

from prebook.lab.faults.availability import Availability, available, survey
from prebook.lab.faults.catalogue import CATALOGUE
from prebook.lab.faults.fault_access import Levers, levers
from prebook.lab.faults.injection import inject
from prebook.lab.faults.model import Fault, FaultKind, FaultWindow, Need, NoEffect, Timed

__all__ = [
    "CATALOGUE",
    "Availability",
    "Fault",
    "FaultKind",
    "FaultWindow",
    "Levers",
    "Need",
    "NoEffect",
    "Timed",
    "available",
    "inject",
    "levers",
    "survey",
]
