"""Recovery of messages that no queue of the broker would deliver again.

A call, a callback, or a polled or inline reply that fails becomes a row of the outbox's local route, due at its next
attempt; an accepted request is such a row from the start. Attempts, delays and dead letters are those of a message from
a queue.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, MessageKind, request_id_of
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.headers import FIRST_FAILED_AT_HEADER
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.outbox.store import LOCAL_ROUTE, HandleAgain
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.decision import FailureRecovery, policy_of
from prebook.messaging.staging import ordering_key
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage, UnitOfWork

DeadLetterLocal = Callable[[Envelope, str, Exception], Awaitable[None]]
"""Dead-letters a message that no queue delivered: message, cause, error. Raises Unreachable."""


async def keep_failed(envelope: Envelope, cause: str, error: Exception) -> None:
    """Implement DeadLetterLocal for a process without a parking queue: the message stays where it is."""
    raise Unreachable(f"{envelope.id} cannot be dead-lettered here ({cause}: {error_summary(error)})")


class LocalRecovery:
    """Carries out the decisions about failed messages by rows of the local route and by dead letters."""

    def __init__(
        self,
        begin: BeginUnitOfWork[UnitOfWork],
        policies: Policies,
        observer: MessagingObserver,
        dead_letter: DeadLetterLocal,
    ) -> None:
        self._begin = begin
        self._policies = policies
        self._recovery = FailureRecovery(policies, observer)
        self._dead_letter = dead_letter

    def max_attempts(self, envelope: Envelope) -> int:
        """Return the maximum number of attempts at the message."""
        return policy_of(envelope, self._policies).max_attempts

    async def recover_received(self, envelope: Envelope, error: Exception) -> bool:
        """Store the next attempt at a message that failed when it arrived, or dead-letter the message.

        Returns whether there is a next attempt. From then on the sender has nothing to repeat. Raises Unreachable: the
        message is stored nowhere.
        """

        async def retry(next_attempt: Envelope, delay_s: float) -> bool:
            row = OutboxMessage(next_attempt, LOCAL_ROUTE, ordering_key(next_attempt), timedelta(seconds=delay_s))
            async with self._begin() as work:
                await work.enqueue([row])
                if envelope.kind is MessageKind.REPLY:
                    await work.stop_polling(request_id_of(envelope.id))
            return True

        async def dead_letter(cause: str, error: Exception) -> bool:
            await self._dead_letter(envelope, cause, error)
            return False

        return await self._recovery.recover(_with_first_failure(envelope), error, retry=retry, dead_letter=dead_letter)

    async def recover_row(self, envelope: Envelope, error: Exception) -> None:
        """Recover from the failure of a row of the local route; a row that is dead-lettered counts as sent.

        Raises HandleAgain with the next attempt, if there is one, or Unreachable.
        """

        async def retry(next_attempt: Envelope, delay_s: float) -> None:
            raise HandleAgain(next_attempt, delay_s, error_summary(error))

        async def dead_letter(cause: str, error: Exception) -> None:
            await self._dead_letter(envelope, cause, error)

        await self._recovery.recover(_with_first_failure(envelope), error, retry=retry, dead_letter=dead_letter)


def _with_first_failure(envelope: Envelope) -> Envelope:
    return replace(envelope, extra={FIRST_FAILED_AT_HEADER: utc_now().isoformat(), **envelope.extra})
