"""Dead letters as operations lists them."""

from datetime import UTC, datetime
from typing import Any

from prebook.contracts.dead_letters import DeadLetterState, DeadLetterSummary


def parked_dead_letter(cause: str, attempts: int) -> DeadLetterSummary:
    """Return a parked message with a cause and a number of attempts; its other fields are empty."""
    texts = (
        "failure_group",
        "error_type",
        "error",
        "queue",
        "exchange",
        "routing_key",
        "flow",
        "kind",
        "type",
        "message_id",
    )
    empty_texts: dict[str, Any] = dict.fromkeys((*texts, "conversation_id", "trace_id", "reason", "operator"), "")
    now = datetime.now(UTC)
    numbers: dict[str, Any] = {"id": 1, "attempts": attempts, "times_parked": 1, "payload_bytes": 1, "version": 0}
    return DeadLetterSummary(
        **empty_texts, **numbers, state=DeadLetterState.PARKED, cause=cause, first_failed_at=now, last_failed_at=now
    )
