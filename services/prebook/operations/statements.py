"""What is said to the database about parked messages."""

from sqlalchemy import TextClause, text

from prebook.contracts.operations import Filter

COLUMNS = """p.id, p.state, p.digest AS "group", p.cause, p.error_type, p.error, p.queue, p.exchange, p.key, p.flow,
    p.kind, p.type, p.message_id, p.conversation, p.trace_id, p.attempts, p.parkings, p.first_failed_at,
    p.last_failed_at, p.payload_bytes, p.version, p.reason"""

# The row is locked by this, whether it is new or not: two parkings of one message come one after the other.
FIND = text("""
    INSERT INTO parked (fingerprint, queue, exchange, key, cause, error_type, error, digest, flow, kind, type,
        message_id, conversation, trace_id, attempts, said_at, first_failed_at, last_failed_at, payload,
        payload_bytes, headers)
    VALUES (:fingerprint, :queue, :exchange, :key, :cause, :error_type, :error, :digest, :flow, :kind, :type,
        :message_id, :conversation, :trace_id, :attempts, :said_at, :first_failed_at, :last_failed_at, :payload,
        :payload_bytes, CAST(:headers AS jsonb))
    ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint RETURNING id""")
REPLAYED = text("""
    SELECT p.id FROM replay_item i JOIN parked p ON p.id = i.parked_id
    WHERE i.replay_id = :replay_id AND i.parked_id = :parked_id AND i.queue = :queue AND i.message_id = :message_id
    FOR UPDATE OF p""")
HAPPENED = text("""
    INSERT INTO parking (parked_id, event, at, cause, error, attempts, replay_id)
    VALUES (:id, :event, :last_failed_at, :cause, :error, :attempts, :replay_id)
    ON CONFLICT (parked_id, event) DO NOTHING RETURNING 1""")
FAILED_AGAIN = text("""
    UPDATE replay_item i SET state = 'failed_again', settled_at = now(), error = :error,
        same_cause = (p.cause = :cause AND p.error_type = :error_type)
    FROM parked p
    WHERE i.replay_id = :replay_id AND i.parked_id = :id AND i.state = 'in_flight' AND p.id = i.parked_id""")
# A discarded message that fails once more is to be seen again; one that its receiver has admitted is not.
PARKED = text("""
    UPDATE parked SET parkings = parkings + 1, cause = :cause, error_type = :error_type, error = :error,
        digest = :digest, attempts = :attempts, last_failed_at = greatest(last_failed_at, :last_failed_at),
        state = CASE WHEN :of_replay AND state = 'resolved' THEN state
            WHEN EXISTS (SELECT FROM replay_item i WHERE i.parked_id = :id AND i.state IN ('requested', 'in_flight'))
            THEN 'replaying' ELSE 'parked' END
    WHERE id = :id""")

GROUPS = text("""
    SELECT g.*, (
        SELECT error FROM parked p WHERE p.state = :state AND p.digest = g."group" ORDER BY last_failed_at DESC LIMIT 1)
        AS error
    FROM (
        SELECT digest AS "group", max(cause) AS cause, max(error_type) AS error_type, max(type) AS type,
            max(queue) AS queue, count(*) AS messages, min(first_failed_at) AS oldest, max(last_failed_at) AS newest
        FROM parked WHERE state = :state GROUP BY digest) g
    ORDER BY messages DESC, "group" """)
LINE = text(f"SELECT {COLUMNS}, p.headers, p.payload FROM parked p WHERE p.id = :id")  # noqa: S608 - constants
VERSIONS = text("SELECT number, at, reason, headers, payload FROM version WHERE parked_id = :id ORDER BY number")
PARKINGS = text("SELECT at, cause, error, attempts, replay_id AS replay FROM parking WHERE parked_id = :id ORDER BY at")
NOTES = text("SELECT at, text FROM note WHERE parked_id = :id ORDER BY id")
REPLAYS = text("""
    SELECT replay_id FROM replay_item JOIN replay ON replay.id = replay_id WHERE parked_id = :id ORDER BY created_at""")

NOTE = text("""
    INSERT INTO note (parked_id, text) SELECT id, CAST(:text AS text) FROM parked WHERE id = :id RETURNING 1""")
CURRENT = text("""
    SELECT p.version, coalesce(v.headers, p.headers) AS headers, coalesce(v.payload, p.payload) AS payload
    FROM parked p LEFT JOIN version v ON v.parked_id = p.id AND v.number = p.version
    WHERE p.id = :id AND p.state = 'parked' FOR UPDATE OF p""")
EDIT = text("""
    WITH bumped AS (UPDATE parked SET version = :number WHERE id = :id)
    INSERT INTO version (parked_id, number, reason, headers, payload)
    VALUES (:id, :number, :reason, CAST(:headers AS jsonb), :payload)""")

FILTERS = {
    "group": "p.digest = :group",
    "cause": "p.cause = :cause",
    "queue": "p.queue = :queue",
    "type": "p.type = :type",
    "flow": "p.flow = :flow",
    "conversation": "p.conversation = :conversation",
    "message_id": "p.message_id = :message_id",
}


def given(where: Filter) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := getattr(where, name)) is not None}


def lines(where: Filter) -> TextClause:
    return text(f"""
        SELECT {COLUMNS} FROM parked p
        WHERE p.state = ANY (CAST(:states AS text[])) AND p.id < :before {_and(where)}
        ORDER BY p.id DESC LIMIT :limit""")  # noqa: S608 - constants


def changed(where: Filter | None, change: str) -> TextClause:
    """``change`` with the messages of a selection locked in the order of their ids; ``WHERE`` goes on in it."""
    chosen = "p.id = ANY (CAST(:ids AS bigint[]))" if where is None else f"p.state = :state {_and(where)}"
    return text(f"WITH chosen AS (SELECT p.id FROM parked p WHERE {chosen} ORDER BY p.id FOR UPDATE) {change}")  # noqa: S608


def _and(where: Filter) -> str:
    return "".join(f" AND {FILTERS[name]}" for name in given(where))
