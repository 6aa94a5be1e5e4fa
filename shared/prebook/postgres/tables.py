"""Tables that every service's schema has, for SQLAlchemy Core; migrations/ddl/messaging.sql creates them.

tests/postgres/test_schema.py compares these declarations with a migrated database.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from prebook.messaging.outbox.store import OutboxState
from prebook.messaging.recoverability.blocked_keys import BlockStatus
from prebook.postgres.state_literals import with_states

TIMESTAMPTZ = TIMESTAMP(timezone=True)
NOW = text("now()")
ZERO = text("0")
EMPTY = text("''")


def storage(**parameters: float) -> dict[str, Any]:
    """Return the ``Table.info`` that records the table's storage parameters."""
    return {"storage": parameters}


def one_of(column: str, states: Iterable[StrEnum]) -> str:
    """Return the SQL condition that the column has one of the states."""
    values = ", ".join(f"'{state.value}'" for state in states)
    return f"{column} IN ({values})"


def messaging_tables(schema: str) -> MetaData:
    """Return new metadata of the schema with inbox, outbox, pending_reply, blocked, key_lease, claim_lock and
    checked_body.

    The service adds its own tables to it.
    """
    metadata = MetaData(schema=schema)
    _inbox(metadata)
    _outbox(metadata)
    _pending_reply(metadata)
    _blocked(metadata)
    _key_lease(metadata)
    Table("claim_lock", metadata)
    _checked_body(metadata)
    return metadata


def _inbox(metadata: MetaData) -> None:
    Table(
        "inbox",
        metadata,
        Column("message_id", Text(collation="C"), primary_key=True),
        Column("flow", Text, nullable=False),
        Column("conversation_id", Text, nullable=False),
        Column("received_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
        Column("request", Text),
        Column("reply", Text),
        Index(
            "inbox_pending_request",
            "conversation_id",
            "flow",
            postgresql_where=text("request IS NOT NULL AND reply IS NULL"),
        ),
        Index("inbox_age", "received_at"),
    )


def _outbox(metadata: MetaData) -> None:
    Table(
        "outbox",
        metadata,
        Column("seq", BigInteger, Identity(always=True), nullable=False),
        Column("message_id", Text(collation="C"), primary_key=True),
        Column("kind", Text, nullable=False),
        Column("flow", Text, nullable=False),
        Column("conversation_id", Text, nullable=False),
        Column("route", Text, nullable=False),
        Column("message", Text, nullable=False),
        Column("state", Text, nullable=False, server_default=OutboxState.WAITING.value),
        Column("created_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
        Column("not_before", TIMESTAMPTZ, nullable=False),
        Column("expires_at", TIMESTAMPTZ),
        Column("claimed_until", TIMESTAMPTZ),
        Column("sent_at", TIMESTAMPTZ),
        Column("failures", Integer, nullable=False, server_default=ZERO),
        Column("last_error", Text),
        Column("ordering_key", Text, nullable=False, server_default=EMPTY),
        Column("claimed_by", Text),
        Column("refusals", Integer, nullable=False, server_default=ZERO),
        Column("cause", Text),
        Column("abandoned_at", TIMESTAMPTZ),
        Column("sent_position", Integer),
        CheckConstraint(one_of("state", OutboxState), name="outbox_state_check"),
        CheckConstraint(_outbox_sql("(state = {SENT}) = (sent_at IS NOT NULL)"), name="outbox_sent_check"),
        CheckConstraint(
            _outbox_sql("state IN ({WAITING}, {SENT}) OR (cause IS NOT NULL AND abandoned_at IS NOT NULL)"),
            name="outbox_abandoned_check",
        ),
        Index("outbox_waiting", "seq", postgresql_where=text(_outbox_sql("state = {WAITING}"))),
        Index("outbox_ordering", "route", "ordering_key", "seq", postgresql_where=text("sent_at IS NULL")),
        Index(
            "outbox_abandoned",
            "state",
            "cause",
            "abandoned_at",
            postgresql_where=text(_outbox_sql("state IN ({EXPIRED}, {UNDELIVERABLE}, {DISCARDED})")),
        ),
        Index("outbox_sent", "sent_at", postgresql_where=text(_outbox_sql("state = {SENT}"))),
        info=storage(
            fillfactor=70,
            autovacuum_vacuum_scale_factor=0.01,
            autovacuum_vacuum_threshold=1000,
            autovacuum_vacuum_cost_delay=0,
        ),
    )


def _pending_reply(metadata: MetaData) -> None:
    Table(
        "pending_reply",
        metadata,
        Column("request_id", Text, primary_key=True),
        Column("flow", Text, nullable=False),
        Column("conversation_id", Text, nullable=False),
        Column("message", Text, nullable=False),
        Column("due_at", TIMESTAMPTZ, nullable=False),
        Column("poll_at", TIMESTAMPTZ),
        Column("poll_count", Integer, nullable=False, server_default=ZERO),
        Index("pending_reply_due", "due_at"),
        Index("pending_reply_poll", "poll_at", postgresql_where=text("poll_at IS NOT NULL")),
        info=storage(fillfactor=80, autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_threshold=1000),
    )


def _blocked(metadata: MetaData) -> None:
    Table(
        "blocked",
        metadata,
        Column("group_name", Text, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("ordering_key", Text, nullable=False),
        Column("seq", BigInteger, Identity(always=True), nullable=False),
        Column("message", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("due_at", TIMESTAMPTZ, nullable=False),
        Column("blocked_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
        Column("error", Text, nullable=False),
        PrimaryKeyConstraint("group_name", "message_id"),
        CheckConstraint(one_of("status", BlockStatus), name="blocked_status_check"),
        Index("blocked_ordering", "group_name", "ordering_key", "seq"),
        info=storage(autovacuum_vacuum_scale_factor=0.01, autovacuum_analyze_scale_factor=0.02),
    )


def _key_lease(metadata: MetaData) -> None:
    Table(
        "key_lease",
        metadata,
        Column("group_name", Text, nullable=False),
        Column("ordering_key", Text, nullable=False),
        Column("held_by", Text, nullable=False),
        Column("held_until", TIMESTAMPTZ, nullable=False),
        PrimaryKeyConstraint("group_name", "ordering_key"),
    )


def _checked_body(metadata: MetaData) -> None:
    Table(
        "checked_body",
        metadata,
        Column("id", Text, primary_key=True),
        Column("message_id", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("flow", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("stored_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
        Column("expires_at", TIMESTAMPTZ, nullable=False),
        Column("read_at", TIMESTAMPTZ),
        Index("checked_body_expiry", "expires_at"),
    )


def _outbox_sql(sql: str) -> str:
    return with_states(sql, OutboxState)
