"""Statements of the inbox."""

from sqlalchemy import text

from prebook.messaging.outbox.store import OutboxState
from prebook.postgres.statements import statement_factory

# Insert first, act after, in one transaction: two deliveries of one message serialise on the primary key.
RECORD_MESSAGE = text("""
    INSERT INTO inbox (message_id, flow, conversation_id) VALUES (:id, :flow, :conversation_id)
    ON CONFLICT (message_id) DO NOTHING RETURNING 1""")
RECORD_REPLY_MESSAGE = text("""
    WITH replied AS (DELETE FROM pending_reply WHERE request_id = :request_id)
    INSERT INTO inbox (message_id, flow, conversation_id) VALUES (:id, :flow, :conversation_id)
    ON CONFLICT (message_id) DO NOTHING RETURNING 1""")
# In the order of the ids: two transactions that record the same messages wait for each other, but never in a circle.
RECORD_MESSAGES = text("""
    WITH replied AS (DELETE FROM pending_reply WHERE request_id = ANY (CAST(:request_id AS text[])))
    INSERT INTO inbox (message_id, flow, conversation_id)
    SELECT id, flow, conversation_id
    FROM unnest(CAST(:id AS text[]), CAST(:flow AS text[]), CAST(:conversation_id AS text[]))
        AS received (id, flow, conversation_id)
    ORDER BY id ON CONFLICT (message_id) DO NOTHING RETURNING message_id""")
RECEIVED_AT = text("SELECT received_at FROM inbox WHERE message_id = :id")
PENDING_REQUEST = text("""
    SELECT request FROM inbox
    WHERE conversation_id = :conversation_id AND flow = :flow AND request IS NOT NULL AND reply IS NULL LIMIT 1""")
STORED_REPLY = text("SELECT reply FROM inbox WHERE message_id = :id AND reply IS NOT NULL")
STORED_REPLIES = text("""
    SELECT reply FROM inbox WHERE message_id = ANY (CAST(:ids AS text[])) AND reply IS NOT NULL""")
# Looked up by primary keys: a booking that waits is rare, and the tables are large.
OUTSTANDING = statement_factory(OutboxState)("""
    SELECT request_id FROM pending_reply WHERE request_id = ANY (CAST(:request_ids AS text[]))
    UNION
    SELECT request_id
    FROM unnest(CAST(:request_ids AS text[]), CAST(:reply_ids AS text[])) AS waiting (request_id, reply_id)
    WHERE EXISTS (SELECT FROM outbox WHERE message_id IN (request_id, reply_id) AND state = {WAITING})""")
STOP_POLLING = text("UPDATE pending_reply SET poll_at = NULL WHERE request_id = :request_id")
