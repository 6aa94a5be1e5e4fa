"""The inbox's statements."""

from sqlalchemy import text

# Claim first, act after, in one transaction: two deliveries of one message serialise on the primary key.
RECORD_MESSAGE = text("""
    INSERT INTO inbox (message_id, flow, conversation) VALUES (:id, :flow, :conversation)
    ON CONFLICT (message_id) DO NOTHING RETURNING 1""")
RECORD_REPLY_MESSAGE = text("""
    WITH heard AS (DELETE FROM awaited WHERE request_id = :request_id)
    INSERT INTO inbox (message_id, flow, conversation) VALUES (:id, :flow, :conversation)
    ON CONFLICT (message_id) DO NOTHING RETURNING 1""")
# In the order of their ids, as everybody else's: two who admit the same ones wait for each other, and in no circle.
RECORD_MESSAGES = text("""
    WITH heard AS (DELETE FROM awaited WHERE request_id = ANY (CAST(:request_id AS text[])))
    INSERT INTO inbox (message_id, flow, conversation)
    SELECT id, flow, conversation
    FROM unnest(CAST(:id AS text[]), CAST(:flow AS text[]), CAST(:conversation AS text[]))
        AS told (id, flow, conversation)
    ORDER BY id ON CONFLICT (message_id) DO NOTHING RETURNING message_id""")
RECEIVED_AT = text("SELECT received_at FROM inbox WHERE message_id = :id")
PENDING_REQUEST = text("""
    SELECT request FROM inbox
    WHERE conversation = :conversation AND flow = :flow AND request IS NOT NULL AND answer IS NULL LIMIT 1""")
STORED_REPLY = text("SELECT answer FROM inbox WHERE message_id = :id AND answer IS NOT NULL")
