"""What is broken on purpose: a catalogue of described values, and for each the proof that it took effect.

``available`` tells what the running suite can be given, ``inject`` breaks one thing for a time and undoes it.
"""

from loadtest.faults.availability import Availability, available, survey
from loadtest.faults.catalogue import CATALOGUE
from loadtest.faults.injection import inject
from loadtest.faults.levers import Levers, levers
from loadtest.faults.values import Fault, FaultKind, FaultWindow, Need, NoEffect, Timed

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
