"""Which messages failed in the same way."""

import hashlib
import re

GROUP_ID_CHARS = 12
_VARIABLE_PARTS = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-fA-F]+|[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]+)*|\d+")


def group_of(*, queue: str, type_: str, cause: str, error: str, stack: str = "") -> str:
    """The same for the same cause, of the same message type, at the same queue.

    Where the place in the program is known that decides; else the error's text without what varies from one message
    to the next.
    """
    how = stack or error_template(error)
    return hashlib.sha256(f"{queue}\n{type_}\n{cause}\n{how}".encode()).hexdigest()[:GROUP_ID_CHARS]


def error_template(error: str) -> str:
    """``no ride 'b17' after 3 s`` and ``no ride 'b18' after 4 s`` have one shape."""
    return _VARIABLE_PARTS.sub("*", error)


def error_type_of(error: str) -> str:
    """``Malformed: the body ...`` -> ``Malformed``."""
    name, colon, _ = error.partition(":")
    return name if colon and name.isidentifier() else ""
