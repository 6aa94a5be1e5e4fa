"""Helpers of the seeds: replace code, and choose the messages that a defect hits."""

import hashlib
import sys
from collections.abc import Callable
from typing import Any

FULL = 2**32


def is_chosen(subject: str, share: float, salt: str = "") -> bool:
    """Return whether a defect hits ``subject``, a message or booking id: always the same ``share`` of all subjects.

    ``salt``: what tells the choices of two defects apart, by default the name of the calling function.
    """
    salt = salt or sys._getframe(1).f_code.co_qualname
    digest = hashlib.sha256(f"{salt}:{subject}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * FULL


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace ``owner.name`` by what ``make`` returns for it."""
    setattr(owner, name, make(getattr(owner, name)))
