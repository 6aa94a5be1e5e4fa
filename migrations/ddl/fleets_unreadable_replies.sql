-- Unreadable replies of partners, with their bytes, until they are parked at operations.

-- A row is written in the transaction of the request, and deleted once its dead letter is confirmed. message_id: of the
-- request. media_type: format and version, as the partner names them.
ALTER TABLE fleets.unreadable_reply
    ADD COLUMN message_id text NOT NULL DEFAULT '',
    ADD COLUMN cause text NOT NULL DEFAULT 'garbled',
    ADD COLUMN media_type text NOT NULL DEFAULT '',
    ADD COLUMN body bytea NOT NULL DEFAULT '';

UPDATE fleets.unreadable_reply SET body = convert_to(excerpt, 'UTF8');

ALTER TABLE fleets.unreadable_reply
    DROP COLUMN excerpt,
    ALTER COLUMN message_id DROP DEFAULT,
    ALTER COLUMN cause DROP DEFAULT,
    ALTER COLUMN media_type DROP DEFAULT,
    ALTER COLUMN body DROP DEFAULT;
