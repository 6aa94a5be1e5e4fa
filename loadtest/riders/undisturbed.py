"""No pauses of our own: a full collection of what thousands of open requests hold takes a third of a second."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEVER = 1_000_000
"""Collections of the middle generation before a full one: more than any run has."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Cycles are collected while they are young; what has grown old is looked at afterwards."""
    young, middle, old = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(young, middle, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
        gc.unfreeze()
