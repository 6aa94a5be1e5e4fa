"""Messages of the local route whose handling may end the process: counted before they are handled, and then alone.

A row that is found by a scan may have been taken up before, by a process that ended without an outcome. The count of
that is stored before the row is handled. A row with such a count is handled alone in its process, so that the counts
of its neighbours do not grow with its own. Source: as for messages of the broker, ``isolation``.
"""

from dataclasses import replace

from prebook.messaging.envelope import Envelope
from prebook.messaging.headers import STARTS_HEADER


def count_starts(envelope: Envelope) -> int:
    """Return how often the message was taken up by a scan without an outcome so far."""
    text = envelope.extra.get(STARTS_HEADER, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0  # noqa: PLR2004 - bounds int()


def with_start(envelope: Envelope) -> Envelope:
    """Return the message as it is stored when a scan takes it up once more."""
    return replace(envelope, extra={**envelope.extra, STARTS_HEADER: str(count_starts(envelope) + 1)})


def without_starts(envelope: Envelope) -> Envelope:
    """Return the message as it is handled, and stored once there is an outcome."""
    if STARTS_HEADER not in envelope.extra:
        return envelope
    return replace(envelope, extra={name: text for name, text in envelope.extra.items() if name != STARTS_HEADER})
