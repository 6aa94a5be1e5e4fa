"""What is broken on purpose: a catalogue of described values, and for each the proof that it took effect.

``available`` tells what the running suite can be given, ``inject`` breaks one thing for a time and undoes it.
"""

from prebook.lab.faults.availability import FaultAvailability, list_available_faults, survey_faults
from prebook.lab.faults.catalogue import FAULT_CATALOGUE
from prebook.lab.faults.fault_access import FaultAccess, read_fault_access
from prebook.lab.faults.injection import inject
from prebook.lab.faults.model import Fault, FaultKind, FaultWindow, Need, NoEffect, TimedFault

__all__ = [
    "FAULT_CATALOGUE",
    "Fault",
    "FaultAccess",
    "FaultAvailability",
    "FaultKind",
    "FaultWindow",
    "Need",
    "NoEffect",
    "TimedFault",
    "inject",
    "list_available_faults",
    "read_fault_access",
    "survey_faults",
]
