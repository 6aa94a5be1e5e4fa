"""Ledger of hostile messages: what the broker did with each, and what became of it at each of its queues."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.integration.broker_probe import TOPOLOGY
from tests.integration.database_probe import DatabaseProbe
from tests.rabbit.body_defects import MALFORMED_FIELD, UNKNOWN_FIELD
from tests.rabbit.message_fuzzer import TOKEN, TOKEN_HEADER, HostileMessage
from tests.rabbit.raw_amqp import Outcome

HANDLED = "handled"
WRONG_RESULTS: Mapping[str, Collection[str]] = {
    UNKNOWN_FIELD: {"wrong_schema", "bad_json"},
    MALFORMED_FIELD: {"wrong_schema"},
}
"""Results that a message with a defect must not have: it is handled, or dead-lettered for another reason."""
Delivery = tuple[str, str]
"""Token of a message, and address of a queue that it reaches."""
CONSUMERS: Mapping[str, str] = {queue.address: queue.consumer for queue in TOPOLOGY.consumed_queues()}
# A message whose headers are broken on purpose has its token in its body; their bits may show another one.
TAKE_DEAD_LETTERS = f"""
    DELETE FROM operations.dead_letter
    WHERE id = ANY (ARRAY(SELECT id FROM operations.dead_letter ORDER BY id LIMIT 2000))
    RETURNING queue, cause, times_parked,
        headers ? '{TOKEN_HEADER}' OR encode(payload, 'escape') LIKE '{{"fuzz":%' AS is_own, coalesce(
        substring(encode(payload, 'escape') FROM '^{{"fuzz":"({TOKEN})"}}$'), headers ->> '{TOKEN_HEADER}',
        substring(conversation_id FROM '{TOKEN}'), substring(headers::text FROM '{TOKEN}'),
        substring(encode(payload, 'escape') FROM '{TOKEN}')) AS token"""  # noqa: S608 - constants
FIND_HANDLED = "SELECT message_id FROM {}.inbox WHERE message_id = ANY($1)"
STUCK = """
    SELECT count(*) FROM (
        SELECT 1 FROM {0}.outbox WHERE state = 'waiting' AND conversation_id ~ $1
        UNION ALL SELECT 1 FROM {0}.blocked WHERE status = 'waiting' AND ordering_key ~ $1
        UNION ALL SELECT 1 FROM {0}.pending_reply
            WHERE conversation_id ~ $1 AND due_at < now() - interval '5 seconds') AS stuck"""
"""Number of rows of hostile conversations that wait for something in the schema of a service."""


@dataclass
class HostileMessageLedger:
    """Closes if every message is refused, or settled once at each queue that it reaches."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """What the broker did with the messages."""
    settled: Counter[str] = field(default_factory=Counter)
    """Deliveries by what became of them: the cause of a dead letter, ``handled`` or ``expired``."""
    taken_and_refused: Counter[str] = field(default_factory=Counter)
    """Dead letters, by cause, of messages that a queue took before the broker closed the connection over them."""
    consequences: Counter[str] = field(default_factory=Counter)
    """Dead letters of messages that services sent because they had handled a hostile one, by queue and cause."""
    problems: list[str] = field(default_factory=list)
    _open: dict[Delivery, HostileMessage] = field(default_factory=dict)
    _dead_lettered: dict[Delivery, str] = field(default_factory=dict)
    _sent: dict[str, tuple[HostileMessage, Outcome]] = field(default_factory=dict)

    def enter(self, message: HostileMessage, outcome: Outcome) -> None:
        """Enter a message that was sent; one that the broker has not confirmed is settled by that."""
        self.outcomes[outcome] += 1
        entry = replace(message, frames=b"")
        self._sent[entry.token] = (entry, outcome)
        if outcome is not Outcome.CONFIRMED:
            return
        for queue in entry.queues:
            self._open[entry.token, queue] = entry

    @property
    def open(self) -> Collection[Delivery]:
        """Deliveries of which it is not known what became of them."""
        return self._open.keys()

    async def settle(self, database: DatabaseProbe) -> None:
        """Take all dead letters out of operations, and look for the other deliveries in the inboxes."""
        while rows := await database.connection.fetch(TAKE_DEAD_LETTERS):
            for row in rows:
                self._settle_dead_letter(row["token"] or "", row["queue"], row["cause"] or "none", row)
        for delivery in await self._find_handled(database):
            self._close(delivery, HANDLED)

    def settle_expired(self) -> int:
        """Settle requests that had expired when they were sent, and return their number: nothing records them."""
        expired = [delivery for delivery, message in self._open.items() if message.may_expire]
        for delivery in expired:
            self._close(delivery, "expired")
        return len(expired)

    def describe(self) -> list[str]:
        """Return the counts, a line each."""
        return [
            f"by the broker: {_counts(self.outcomes)}",
            f"deliveries: {_counts(self.settled)}",
            f"dead letters although the broker closed the connection: {_counts(self.taken_and_refused)}",
            f"dead letters of what services sent because of them: {_counts(self.consequences)}",
        ]

    def describe_open(self, limit: int = 20) -> list[str]:
        """Return the defects, queues, accounts and ids of open deliveries that no expiry explains."""
        unexplained = [(queue, m) for (_, queue), m in self._open.items() if not m.may_expire]
        return [f"{m.defect} to {queue} by {m.account}: {m.token} {sorted(m.message_ids)}" for queue, m in unexplained][
            :limit
        ]

    def _settle_dead_letter(self, token: str, queue: str, cause: str, row: Any) -> None:
        message, outcome = self._sent.get(token, (None, Outcome.REJECTED))
        if message is None or outcome in {Outcome.RETURNED, Outcome.REJECTED}:
            self.problems.append(f"a dead letter of {queue} that nobody sent: {cause}, {token!r}, {message}")
        elif queue not in message.queues or not row["is_own"]:
            self.consequences[f"{queue}: {cause}"] += 1
        elif row["times_parked"] > 1 or self._dead_lettered.get((token, queue)):
            self.problems.append(f"{token} has two dead letters of {queue}: {cause}, {message}")
        elif outcome is Outcome.REFUSED:
            self.taken_and_refused[cause] += 1
        else:
            self._close((token, queue), cause)
        if row["is_own"]:
            self._dead_lettered[token, queue] = cause

    async def _find_handled(self, database: DatabaseProbe) -> list[Delivery]:
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for (_, queue), message in self._open.items():
            if queue in CONSUMERS:
                ids[CONSUMERS[queue]] += [each for each in message.message_ids if each and "\0" not in each]
        handled: set[tuple[str, str]] = set()
        for service, wanted in ids.items():
            rows = await database.connection.fetch(FIND_HANDLED.format(service), wanted)
            handled |= {(service, row["message_id"]) for row in rows}
        return [
            delivery
            for delivery, message in self._open.items()
            if any((CONSUMERS.get(delivery[1]), each) in handled for each in message.message_ids)
        ]

    def _close(self, delivery: Delivery, result: str) -> None:
        message, _ = self._sent[delivery[0]]
        if result in WRONG_RESULTS.get(message.defect, ()):
            self.problems.append(f"{message.defect}, to {delivery[1]}: {result}, {message}")
        if self._open.pop(delivery, None) is None:  # a message of the same id was found in the inbox before
            self.settled[HANDLED] -= 1
        self.settled[result] += 1


def _counts(counter: Mapping[Any, int]) -> str:
    ranked = sorted(counter.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {count:,}" for name, count in ranked) or "none"
