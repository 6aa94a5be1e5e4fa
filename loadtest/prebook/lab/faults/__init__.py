"""Fault injection: a catalogue of faults, their availability in a suite, and injection with evidence of effect.

``survey_faults`` returns the availability of each fault in the running suite. ``inject`` causes one fault for a time,
undoes it, and returns the evidence that it took effect.
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
