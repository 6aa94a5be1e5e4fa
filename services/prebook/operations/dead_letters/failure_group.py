"""Failure groups: dead letters that failed in the same way at the same place."""

import hashlib
import re

GROUP_ID_CHARS = 12
_VARIABLE_PARTS = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-fA-F]+|[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]+)*|\d+")


def group_of(*, queue: str, type_: str, cause: str, error: str, traceback_digest: str = "") -> str:
    """Return the id of the failure group, which has one queue, message type, cause and place of failure.

    The place is ``traceback_digest``. Without one it is the text of the error, with the parts
    replaced that vary from message to message.
    """
    place = traceback_digest or error_template(error)
    return hashlib.sha256(f"{queue}\n{type_}\n{cause}\n{place}".encode()).hexdigest()[:GROUP_ID_CHARS]


def error_template(error: str) -> str:
    """Return ``error`` with quoted texts and numbers replaced: ``no ride 'b17' in 3 s`` -> ``no ride * in * s``."""
    return _VARIABLE_PARTS.sub("*", error)


def error_type_of(error: str) -> str:
    """Return the exception's name: ``Malformed: the body ...`` -> ``Malformed``; empty if there is none."""
    name, colon, _ = error.partition(":")
    return name if colon and name.isidentifier() else ""
