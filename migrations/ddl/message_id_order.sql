-- Message ids sort by byte, whatever the server's locale: the ids of a conversation are then one range of each primary
-- key, by which an operator's look at one ride reads its rows. No further index, which every ride would have to maintain.
ALTER TABLE {schema}.inbox ALTER COLUMN message_id TYPE text COLLATE "C";

ALTER TABLE {schema}.outbox ALTER COLUMN message_id TYPE text COLLATE "C";
