"""Operations' tables for SQLAlchemy Core; migrations/ddl/operations.sql creates them."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.replays import RedeliveryState, ReplayState
from prebook.postgres.state_literals import with_states
from prebook.postgres.tables import EMPTY, NOW, TIMESTAMPTZ, ZERO, messaging_tables, one_of

EARLY_ENDS = (ReplayState.STOPPED, ReplayState.CANCELLED)
"""Values of ``replay.outcome``: end state of a replay that stops before all of its messages are sent."""
STORED_REPLAY_STATES = tuple(state for state in ReplayState if state is not ReplayState.DRY_RUN)
"""States of stored replays; a dry run is only reported."""
FALSE = text("false")
NO_BATCHES = text("'{}'")
LONG_AGO = text("'-infinity'")


def _dead_letter_id() -> Column[int]:
    return Column(
        "dead_letter_id", BigInteger, ForeignKey("operations.dead_letter.id", ondelete="CASCADE"), nullable=False
    )


METADATA = messaging_tables("operations")
DEAD_LETTER = Table(
    "dead_letter",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False, server_default=DeadLetterState.PARKED.value),
    Column("queue", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("failure_group", Text, nullable=False),
    Column("flow", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("conversation_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("times_parked", Integer, nullable=False, server_default=ZERO),
    Column("occurred_at", TIMESTAMPTZ),
    Column("first_failed_at", TIMESTAMPTZ, nullable=False),
    Column("last_failed_at", TIMESTAMPTZ, nullable=False),
    Column("recorded_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("payload", LargeBinary, nullable=False),
    Column("payload_bytes", BigInteger, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("version", Integer, nullable=False, server_default=ZERO),
    Column("reason", Text, nullable=False, server_default=EMPTY),
    Column("operator", Text, nullable=False, server_default=EMPTY),
    CheckConstraint(one_of("state", DeadLetterState), name="dead_letter_state_check"),
    Index("dead_letter_state", "state", "id"),
    Index("dead_letter_conversation", "conversation_id"),
    Index(
        "dead_letter_groups",
        "state",
        "failure_group",
        "last_failed_at",
        postgresql_include=["cause", "error_type", "type", "queue", "first_failed_at"],
    ),
    Index(
        "dead_letter_resolved_age",
        "last_failed_at",
        postgresql_where=text(with_states("state = {RESOLVED}", DeadLetterState)),
    ),
)
OCCURRENCE = Table(
    "occurrence",
    METADATA,
    _dead_letter_id(),
    Column("occurrence_id", Text, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("cause", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("replay_id", Text, nullable=False),
    PrimaryKeyConstraint("dead_letter_id", "occurrence_id"),
)
DEAD_LETTER_VERSION = Table(
    "dead_letter_version",
    METADATA,
    _dead_letter_id(),
    Column("number", Integer, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("reason", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    PrimaryKeyConstraint("dead_letter_id", "number"),
)
DEAD_LETTER_NOTE = Table(
    "dead_letter_note",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _dead_letter_id(),
    Column("at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("operator", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index("dead_letter_note_dead_letter", "dead_letter_id", "id"),
)
REPLAY = Table(
    "replay",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default=ReplayState.RUNNING.value),
    Column("outcome", Text),
    Column("reason", Text, nullable=False, server_default=EMPTY),
    Column("operator", Text, nullable=False),
    Column("created_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("ended_at", TIMESTAMPTZ),
    Column("rate_per_s", Double),
    Column("keep_going", Boolean, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("ineligible", JSONB, nullable=False),
    Column("batches", ARRAY(Integer), nullable=False, server_default=NO_BATCHES),
    Column("leased_by", Text, nullable=False, server_default=EMPTY),
    Column("leased_until", TIMESTAMPTZ, nullable=False, server_default=LONG_AGO),
    CheckConstraint(one_of("state", STORED_REPLAY_STATES), name="replay_state_check"),
    CheckConstraint(one_of("outcome", EARLY_ENDS), name="replay_outcome_check"),
    Index("replay_open", "id", postgresql_where=text("ended_at IS NULL")),
    Index("replay_age", "created_at"),
)
REDELIVERY = Table(
    "redelivery",
    METADATA,
    Column("replay_id", Text, ForeignKey("operations.replay.id"), nullable=False),
    _dead_letter_id(),
    Column("position", Integer, nullable=False),
    Column("ordering_key", Text, nullable=False),
    Column("predecessor_id", BigInteger),
    Column("state", Text, nullable=False, server_default=RedeliveryState.REQUESTED.value),
    Column("queue", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("beyond_retention", Boolean, nullable=False),
    Column("dispatched_at", TIMESTAMPTZ),
    Column("sent_at", TIMESTAMPTZ),
    Column("settled_at", TIMESTAMPTZ),
    Column("received_at", TIMESTAMPTZ),
    Column("duplicate", Boolean, nullable=False, server_default=FALSE),
    Column("same_cause", Boolean, nullable=False, server_default=FALSE),
    Column("error", Text, nullable=False, server_default=EMPTY),
    PrimaryKeyConstraint("replay_id", "dead_letter_id"),
    CheckConstraint(one_of("state", RedeliveryState), name="redelivery_state_check"),
    Index(
        "redelivery_live",
        "dead_letter_id",
        unique=True,
        postgresql_where=text(with_states("state IN ({REQUESTED}, {IN_FLIGHT})", RedeliveryState)),
    ),
    Index("redelivery_next", "replay_id", "state", "position"),
    Index("redelivery_ordering", "replay_id", "ordering_key", "position"),
    Index("redelivery_dead_letter", "dead_letter_id"),
)
