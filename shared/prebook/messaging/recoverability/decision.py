"""What to do with a message that could not be handled: retry later, or park. Carried out by the consumer."""

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import PermanentFailure
from prebook.messaging.policy import Policies
from prebook.patterns.retry import Park, RetryDecision, retry_decision


def decide(envelope: Envelope, error: Exception, policies: Policies) -> RetryDecision:
    if isinstance(error, PermanentFailure):
        return Park(error.cause)
    # A fact belongs to no flow: it is tried as often as the first flow of the catalogue.
    policy = policies.get(envelope.flow) or next(iter(policies.values()))
    return retry_decision(
        envelope.attempt, message_id=envelope.id, max_attempts=policy.max_attempts, backoff_s=policy.backoff_s
    )
