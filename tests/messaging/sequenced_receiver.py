"""A receiver that keeps order, over a database of its own or a list, and messages that fail as they are told to."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import PermanentFailure, Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.recoverability.blocked_keys import BlockedKeys, BlockStatus, KeyStatus
from prebook.messaging.recoverability.key_sequencer import KeySequencer
from prebook.patterns.message_groups import OnPoison
from tests.messaging.examples import request

GROUP = "notification.one_way_requests.notify_rider"


class Poison(PermanentFailure):
    cause = "poison"


@dataclass
class MemoryBlockedKeys(BlockedKeys):
    """Implements BlockedKeys. Every pause is over at once, or never: ``patient`` decides."""

    rows: list[tuple[str, Envelope, BlockStatus]] = field(default_factory=list)
    patient: bool = False
    away: bool = False

    async def read_status(self, group: str, envelope: Envelope) -> KeyStatus:
        if self.away:
            raise Unreachable("no database")
        own = [s for g, e, s in self.rows if (g, e.id) == (group, envelope.id)]
        key = self._of(group, envelope.conversation_id)
        return KeyStatus(own[0] if own else None, key[-1][1] if key else None)

    async def block(self, group: str, envelope: Envelope, status: BlockStatus, *, delay_s: float, error: str) -> None:
        del error, delay_s
        for number, (at, other, _) in enumerate(self.rows):
            if (at, other.id) == (group, envelope.id):
                self.rows[number] = (group, envelope, status)
                return
        self.rows.append((group, envelope, status))

    async def unblock(self, group: str, envelope: Envelope) -> None:
        key = [e.id for e, _ in self._of(group, envelope.conversation_id)]
        gone = key[: key.index(envelope.id) + 1] if envelope.id in key else []
        self.rows = [row for row in self.rows if (row[0], row[1].id) not in {(group, id_) for id_ in gone}]

    async def find_next_due(self, group: str, key: str) -> Envelope | None:
        waiting = [e for e, s in self._of(group, key)[:1] if s is BlockStatus.WAITING and not self.patient]
        return next(iter(waiting), None)

    async def list_waiting(self, group: str, key: str) -> Sequence[Envelope]:
        return [e for e, s in self._of(group, key) if s is BlockStatus.WAITING]

    async def list_due_keys(self, limit: int) -> Sequence[tuple[str, str]]:
        keys = dict.fromkeys((group, e.conversation_id) for group, e, _ in self.rows)
        return [key for key in keys if await self.find_next_due(*key)][:limit]

    @asynccontextmanager
    async def try_lock(self, group: str, key: str) -> AsyncIterator[bool]:
        del group, key
        yield True

    def _of(self, group: str, key: str) -> list[tuple[Envelope, BlockStatus]]:
        return [(e, s) for g, e, s in self.rows if (g, e.conversation_id) == (group, key)]


@dataclass
class Receiver:
    """``fails``: message id -> what to raise, and for how many attempts."""

    blocked_keys: BlockedKeys
    on_poison: OnPoison = OnPoison.CONTINUE
    max_attempts: int = 3
    fails: dict[str, tuple[Exception, int]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    handled: list[str] = field(default_factory=list)
    parked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        policy = FlowPolicy(
            coupling=Coupling.ONE_WAY, max_attempts=self.max_attempts, backoff_s=(0.05,), on_poison=self.on_poison
        )
        policies = dict.fromkeys(FLOWS, policy)
        self.sequencer = KeySequencer(
            {f"{GROUP}.0": GROUP},
            self.blocked_keys,
            self._door,
            dead_letter=self._aside,
            policies=policies,
            observer=NullObserver(),
        )

    async def take(self, *envelopes: Envelope) -> None:
        for envelope in envelopes:
            await self.sequencer.process(GROUP, envelope)

    async def settle(self) -> None:
        """As the loop does it, until nothing is due."""
        while keys := await self.blocked_keys.list_due_keys(10):
            for group, key in keys:
                await self.sequencer._resume_key(group, key)

    async def _door(self, envelope: Envelope) -> None:
        self.seen.append(envelope.id)
        error, attempts = self.fails.get(envelope.id, (None, 0))
        if error and envelope.attempt <= attempts:
            raise error
        if envelope.id not in self.handled:
            self.handled.append(envelope.id)

    async def _aside(self, group: str, envelope: Envelope, cause: str, error: Exception | None) -> None:
        del group, error
        self.parked.append((envelope.id, cause))


def said(key: str, place: int, **changes: Any) -> Envelope:
    return replace(request(key), id=f"{key}-{place}", **changes)
