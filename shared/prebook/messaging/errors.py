"""Errors of the messaging core, and the consequence of each for the message.

::

    Exception
    +-- PermanentFailure   handling cannot succeed: dead-letter at once
    |   +-- Malformed      the message cannot be decoded
    |   +-- NoHandler      the service has no handler for the message
    |   +-- ProcessEnded   handling the message has ended its process, too often
    |   +-- RequestExpired the request has failed before, and its caller no longer waits
    |   +-- ForbiddenSender  the sender may not send such a message to this queue
    |   +-- ClaimLost     the body behind the claim check is gone, or is another one
    +-- Unreachable        not handed over now: retry later
    |   +-- ClaimStoreAway  the store of the body cannot be reached
    |   +-- TransactionConflict  rolled back in favour of another transaction: repeat at once
    +-- Undeliverable      can never be handed over as it is
    +-- LoneOutage         a dependency fails this message alone: retried like an error of its handler
    +-- ReceiverUnavailable  an external system took nothing: retry for hours
    +-- RequestFailed      the caller gets an error: the provider has dead-lettered the request
    +-- ReplyTimeout       the caller stopped waiting; the request continues
    +-- CallExpired        the request had expired when it arrived; it has no effect
    +-- InvalidPolicies    couplings.toml is missing or invalid

Any other error of a handler is retried and, after the last attempt, dead-lettered.
"""

import re


class PermanentFailure(Exception):
    """Handling the message again cannot succeed. ``cause``: machine-readable code stored with the dead letter."""

    cause = "permanent"


class Malformed(PermanentFailure):
    """The message cannot be decoded."""

    def __init__(self, cause: str, text: str) -> None:
        """``cause``: machine-readable code such as ``bad_header``; ``text``: what is wrong, for people."""
        super().__init__(text)
        self.cause = cause


class NoHandler(PermanentFailure):
    """The service has no handler for the message: the topology and the handler table disagree."""

    cause = "no_handler"


class ProcessEnded(PermanentFailure):
    """Each time that the message was handled, the process ended before there was an outcome."""

    cause = "delivery_limit"
    """The cause of a message from a queue of the broker that does the same."""


class RequestExpired(PermanentFailure):
    """A request that failed before has expired. Its dead letter keeps the error of the last attempt."""

    cause = "expired"


class ForbiddenSender(PermanentFailure):
    """The sender may not send a message of this kind and flow to this queue, or does not name itself."""

    cause = "forbidden_sender"


class ClaimLost(PermanentFailure):
    """The body behind a claim check is not in its sender's store, or is not the one that was sent."""

    def __init__(self, cause: str, text: str) -> None:
        """``cause``: ``claim_missing`` or ``claim_corrupted``; ``text``: what is wrong, for people."""
        super().__init__(text)
        self.cause = cause


class Unreachable(Exception):
    """The message could not be handed over now; a later attempt may succeed."""

    def __init__(self, text: str, *, reason: str = "unreachable", retry_after_s: float | None = None) -> None:
        """``reason``: word of ``Unavailable.reason``, or ``nacked`` for a negative acknowledgement of the broker.

        ``retry_after_s``: seconds after which the receiver asked to retry; None if it did not say.
        """
        super().__init__(text)
        self.reason = reason
        self.retry_after_s = retry_after_s


class ClaimStoreAway(Unreachable):
    """The store of the body behind a claim check cannot be reached.

    It is an outage also if messages without a claim check, or of another sender, are handled meanwhile.
    """


class LoneOutage(Exception):
    """A dependency has failed this message several times, and handled others of its queue in between."""


class TransactionConflict(Unreachable):
    """The database rolled the transaction back, because it conflicted with another one; repeating it may succeed."""


TOO_LARGE = "too_large"
"""Cause of a message that exceeds a limit of its transport."""


class Undeliverable(Exception):
    """The message can never be handed over as it is."""

    def __init__(self, text: str, *, cause: str = "refused") -> None:
        """``cause``: machine-readable code: ``unroutable``, ``too_large`` or ``refused``."""
        super().__init__(text)
        self.cause = cause


class ReceiverUnavailable(Exception):
    """A system outside of the suite did not take the message now: no fault of the message, the handler or the suite.

    It is retried for hours (``patterns.retry.external_retry_decision``) and pauses no queue.
    """

    def __init__(self, text: str, *, retry_after_s: float | None = None, was_called: bool = True) -> None:
        """``retry_after_s``: seconds until it may be called again; None if unknown.

        ``was_called``: False if it was spared a call, which counts as no attempt.
        """
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.was_called = was_called


class RequestFailed(Exception):
    """The request of a waiting caller is dead-lettered, so that no reply will come."""


class ReplyTimeout(Exception):
    """The caller's timeout ended before the reply arrived.

    The request continues; its reply is stored and returned when the request is repeated.
    """


class CallExpired(Exception):
    """The request had expired when it arrived: its caller no longer waits, and it has no effect."""


class InvalidPolicies(Exception):
    """couplings.toml is missing or invalid; the text names the file and the place."""


MAX_SUMMARY_CHARS = 300
"""Maximum length of an error summary, in characters."""


_QUOTED_VALUE = re.compile(
    r"""(?<=: )\\?['"].*|(?<=value )\\?['"].*|(?<=unknown field )`.*|DETAIL:.*|\[SQL:.*""", re.DOTALL
)


def error_summary(error: BaseException) -> str:
    """Return type and first line of an error, without values.

    The further lines of a database error may quote a row, and with it a rider's personal data.
    """
    text = str(error) if isinstance(error, OSError) else redact_values(str(error))  # a system error quotes a path
    return f"{type(error).__name__}: {text}".split("\n", 1)[0][:MAX_SUMMARY_CHARS]


def redact_values(text: str) -> str:
    """Return the text of an error up to the value, row or field of a message that it quotes.

    Python, PostgreSQL, asyncpg and msgspec quote values after a colon or the word "value", at the end of the text.
    """
    return _QUOTED_VALUE.sub("...", text)
