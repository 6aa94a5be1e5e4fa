"""Eligibility of dead letters for a replay, and their order in it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.replays import MessagesByReason
from prebook.messaging.codec import MAX_BODY_BYTES, SAFE_ID
from prebook.messaging.errors import ForbiddenSender
from prebook.messaging.headers import EXCHANGE_HEADER
from prebook.operations.replays.redelivery import FOREIGN_TARGET, TargetsByQueue, redelivery_target
from prebook.replay.eligibility import IneligibleReason, ReplayPolicy, ineligible_reason

MAX_LISTED_IDS = 100
"""Ids of ineligible messages that a replay lists by reason."""


@dataclass(frozen=True, kw_only=True)
class ReplayCandidate:
    """A selected dead letter, before its eligibility is known.

    ``message_id``, ``conversation_id``, ``payload_bytes`` and, once it is edited, ``exchange`` and ``routing_key`` (its
    first target) are those of the newest version. ``occurred_at``: event time, or the time of the first failure if the
    event time is unknown. ``is_complete``: the payload was stored whole.
    """

    id: int
    state: DeadLetterState
    queue: str
    message_id: str
    conversation_id: str
    occurred_at: datetime
    version: int
    is_complete: bool = True
    cause: str = ""
    exchange: str = ""
    routing_key: str = ""
    payload_bytes: int = 0


@dataclass(frozen=True)
class ReplaySnapshot:
    """The eligible dead letters of a selection, in the order of sending, and the ineligible ones by reason.

    ``beyond_retention``: ids of eligible dead letters older than the receivers' inbox deduplication window.
    """

    candidates: Sequence[ReplayCandidate]
    beyond_retention: frozenset[int]
    ineligible: tuple[MessagesByReason, ...]


IneligibilityRule = tuple[Callable[[ReplayCandidate, TargetsByQueue], bool], str]
INELIGIBILITY_RULES: tuple[IneligibilityRule, ...] = (
    (lambda c, _: c.state is DeadLetterState.DISCARDED, "it is discarded; restore it first"),
    (lambda c, _: c.state is DeadLetterState.REPLAYING, "another replay has it; cancel that one, or wait for its end"),
    (lambda c, _: c.state is DeadLetterState.RESOLVED, "it is resolved already"),
    (lambda c, targets: c.queue not in targets, "no service consumes the queue that it failed at"),
    (
        lambda c, _: c.cause == ForbiddenSender.cause and not c.version,
        "its sender may not send such a message; discard it, or edit it to send it on your own account",
    ),
    (
        lambda c, targets: redelivery_target(c.exchange, c.routing_key, c.queue, targets) is None,
        f"{FOREIGN_TARGET}; to send it to that queue, edit it and remove the header {EXCHANGE_HEADER}",
    ),
    (lambda c, _: not SAFE_ID.match(c.message_id), "it has no usable message id (header ce-id); edit it first"),
    (lambda c, _: not c.is_complete and not c.version, "its payload was too large to be stored whole; edit it first"),
    (
        lambda c, _: c.payload_bytes > MAX_BODY_BYTES,
        f"its payload has more than the {MAX_BODY_BYTES} bytes that a receiver accepts; edit it first",
    ),
)
"""Predicate over a dead letter and the targets by queue, and the reason with its remedy. The first match counts."""
POLICY_TEXTS = {
    IneligibleReason.OUTSIDE_INBOX_WINDOW: (
        "it is older than the receiver's inbox deduplication window; force sends it, and it may take effect twice"
    ),
}
"""Reasons, with their remedies, that follow from the policy which all replays share."""


def explain_ineligible(candidate: ReplayCandidate, targets: TargetsByQueue, policy: ReplayPolicy) -> str:
    """Return the first reason against replaying a dead letter, with the remedy; empty if it is eligible.

    ``targets``: those of every queue that a service consumes. Expiry does not matter, because a redelivery has none;
    nor does a decoding error, because an edit or a new version of the receiver may have removed it.
    """
    for applies, text in INELIGIBILITY_RULES:
        if applies(candidate, targets):
            return text
    reason = ineligible_reason(policy, occurred_at=candidate.occurred_at)
    return POLICY_TEXTS[reason] if reason else ""


def snapshot_of(candidates: Sequence[ReplayCandidate], targets: TargetsByQueue, policy: ReplayPolicy) -> ReplaySnapshot:
    """Divide ``candidates`` into eligible and ineligible ones."""
    ids_by_reason: dict[str, list[int]] = defaultdict(list)
    for candidate in candidates:
        ids_by_reason[explain_ineligible(candidate, targets, policy)].append(candidate.id)
    eligible_ids = frozenset(ids_by_reason.pop("", ()))
    eligible = sort_candidates([candidate for candidate in candidates if candidate.id in eligible_ids])
    return ReplaySnapshot(
        candidates=eligible,
        beyond_retention=frozenset(c.id for c in eligible if policy.is_outside_inbox_window(c.occurred_at)),
        ineligible=tuple(
            MessagesByReason(reason=reason, messages=len(ids), ids=tuple(ids[:MAX_LISTED_IDS]))
            for reason, ids in ids_by_reason.items()
        ),
    )


def ordering_key_of(candidate: ReplayCandidate) -> str:
    """Return the key within which a replay keeps the order and has one message in flight."""
    return candidate.conversation_id or f"message {candidate.id}"


def sort_candidates(candidates: Sequence[ReplayCandidate]) -> list[ReplayCandidate]:
    """Return the candidates in the order of their event times."""
    return sorted(candidates, key=lambda candidate: (candidate.occurred_at, candidate.id))
