"""Errors of the messaging core, and what each means for the message in hand.

::

    Exception
    +-- PermanentFailure   handling cannot succeed: dead-letter at once
    |   +-- Malformed      the message cannot be decoded
    |   +-- NoHandler      the service has no handler for the message
    +-- Unreachable        not handed over now: retry later
    +-- Undeliverable      can never be handed over as it is
    +-- ReplyTimeout       the caller stopped waiting; the request goes on
    +-- InvalidPolicies    couplings.toml does not hold what it must

Whatever else a handler raises is retried and, after the last attempt, dead-lettered.
"""


class PermanentFailure(Exception):
    """Handling this message again cannot end differently. ``cause`` is the stable word it is parked with."""

    cause = "permanent"


class Malformed(PermanentFailure):
    """It can never be understood, however often it comes. ``cause`` is a stable word; the text says what is wrong."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class NoHandler(PermanentFailure):
    """A message reached a service that has no handler for it: the topology and the handler table disagree."""

    cause = "no_handler"


class Unreachable(Exception):
    """It could not be handed over now; later it may. ``reason`` is a word of ``Unavailable.reason``.

    A broker that says no to a message, instead of nothing, is the reason ``nacked``.
    """

    def __init__(self, text: str, *, reason: str = "unreachable", retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Undeliverable(Exception):
    """It can never be handed over as it is. ``cause`` is a stable word: ``unroutable``, ``too_large``, ``refused``."""

    def __init__(self, text: str, *, cause: str = "refused") -> None:
        super().__init__(text)
        self.cause = cause


class ReplyTimeout(Exception):
    """The caller's patience ended first. The request goes on; its answer is stored for whoever asks again."""


class InvalidPolicies(Exception):
    """The file does not say what it must; the text names the file and the place."""


MAX_SUMMARY_CHARS = 300


def error_summary(error: BaseException) -> str:
    """Type and first line. What follows the first line of a database error may be a row, and a row may be a rider."""
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:MAX_SUMMARY_CHARS]
