"""The one decision about a message whose handling failed, whichever mechanism retries it.

The delay queues of ``rabbit.consumer``, the blocked keys of ``key_sequencer`` and the rows of ``local_recovery`` have
each failure decided by ``recover``. They differ only in how a retry and a dead-lettering are carried out.
Source: NServiceBus, "Recoverability".
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.errors import PermanentFailure, ReceiverUnavailable, RequestExpired, Unreachable
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.policy import FlowPolicy, Policies
from prebook.messaging.recoverability.dead_letter import error_headers
from prebook.patterns.retry import Park, Retry, RetryDecision, external_retry_decision, retry_decision

T = TypeVar("T")
ScheduleRetry = Callable[[Envelope, float], Awaitable[T]]
"""Schedules a retry: the message as of its next attempt, and the delay in seconds."""
DeadLetterMessage = Callable[[str, Exception], Awaitable[T]]
"""Dead-letters the message being handled: cause (a machine-readable code) and error."""


def decide(envelope: Envelope, error: Exception, policies: Policies, now: datetime) -> RetryDecision:
    """Return whether the message is retried, and after how long, or parked, and with which cause.

    A request that would expire before its next attempt is parked now: the endpoint would refuse that attempt.
    """
    if isinstance(error, PermanentFailure):
        return Park(error.cause)
    if isinstance(error, ReceiverUnavailable):
        return external_retry_decision(
            envelope.attempt,
            message_id=envelope.id,
            retry_after_s=error.retry_after_s,
            was_called=error.was_called,
        )
    policy = policy_of(envelope, policies)
    decision = retry_decision(
        envelope.attempt, message_id=envelope.id, max_attempts=policy.max_attempts, backoff_s=policy.backoff_s
    )
    if (
        envelope.kind is MessageKind.REQUEST
        and isinstance(decision, Retry)
        and envelope.is_expired(now + timedelta(seconds=decision.delay_s))
    ):
        return Park(RequestExpired.cause)
    return decision


def policy_of(envelope: Envelope, policies: Policies) -> FlowPolicy:
    """Return the policy that sets the attempts at a message: for an event, which has no flow, the first flow's."""
    return policies.get(envelope.flow) or next(iter(policies.values()))


async def try_handle(handler: MessageHandler, envelope: Envelope) -> Exception | None:
    """Handle the message and return the error to recover from, or None.

    Raises Unreachable: a dependency is down, which is no fault of the message and costs it no attempt.
    """
    try:
        await handler(envelope)
    except Unreachable:
        raise
    except Exception as error:  # noqa: BLE001 - a handler may raise anything, and every message is settled
        return error
    return None


class FailureRecovery:
    """Decides about messages that failed."""

    def __init__(self, policies: Policies, observer: MessagingObserver) -> None:
        self._policies = policies
        self._observer = observer

    async def recover(
        self, envelope: Envelope, error: Exception, *, retry: ScheduleRetry[T], dead_letter: DeadLetterMessage[T]
    ) -> T:
        """Decide about a failed message and return the result of the callback that carries the decision out.

        Raises what the callback raises.
        """
        decision = decide(envelope, error, self._policies, utc_now())
        if isinstance(decision, Park):
            return await dead_letter(decision.cause, error)
        self._observer.on_retried(envelope, decision.delay_s)
        # The error travels with the message, for the dead letter of a request that expires before its next attempt.
        failed = replace(envelope, attempt=decision.attempt, extra={**envelope.extra, **error_headers(error)})
        return await retry(failed, decision.delay_s)
