"""A receiver with a key sequencer, over a list or a database, and a handler that fails on request."""

import asyncio
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
    """BlockedKeys over a list. Delays are ignored: a waiting message is due at once."""

    rows: list[tuple[str, Envelope, BlockStatus]] = field(default_factory=list)
    unreachable: bool = False

    async def read_status(self, group: str, envelope: Envelope) -> KeyStatus:
        if self.unreachable:
            raise Unreachable("no database")
        own = [status for name, each, status in self.rows if (name, each.id) == (group, envelope.id)]
        blocked = self._blocked(group, envelope.conversation_id)
        return KeyStatus(own[0] if own else None, blocked[-1][1] if blocked else None)

    async def block(self, group: str, envelope: Envelope, status: BlockStatus, *, delay_s: float, error: str) -> None:
        del error, delay_s
        for number, (name, each, _) in enumerate(self.rows):
            if (name, each.id) == (group, envelope.id):
                self.rows[number] = (group, envelope, status)
                return
        self.rows.append((group, envelope, status))

    async def unblock(self, group: str, envelope: Envelope) -> None:
        ids = [each.id for each, _ in self._blocked(group, envelope.conversation_id)]
        removed = ids[: ids.index(envelope.id) + 1] if envelope.id in ids else []
        self.rows = [row for row in self.rows if row[0] != group or row[1].id not in removed]

    async def find_next_due(self, group: str, key: str) -> Envelope | None:
        waiting = [each for each, status in self._blocked(group, key)[:1] if status is BlockStatus.WAITING]
        return next(iter(waiting), None)

    async def list_waiting(self, group: str, key: str) -> Sequence[Envelope]:
        return [each for each, status in self._blocked(group, key) if status is BlockStatus.WAITING]

    async def list_due_keys(self, limit: int) -> Sequence[tuple[str, str]]:
        keys = dict.fromkeys((group, each.conversation_id) for group, each, _ in self.rows)
        return [key for key in keys if await self.find_next_due(*key)][:limit]

    @asynccontextmanager
    async def try_lock(self, group: str, key: str) -> AsyncIterator[bool]:
        del group, key
        yield True

    def _blocked(self, group: str, key: str) -> list[tuple[Envelope, BlockStatus]]:
        return [(each, status) for name, each, status in self.rows if (name, each.conversation_id) == (group, key)]


@dataclass
class Receiver:
    """A receiver whose handler records messages. ``fails``: message id -> (error, number of failing attempts)."""

    blocked_keys: BlockedKeys
    on_poison: OnPoison = OnPoison.CONTINUE
    max_attempts: int = 3
    fails: dict[str, tuple[Exception, int]] = field(default_factory=dict)
    hangs: dict[str, asyncio.Event] = field(default_factory=dict)
    """Message id -> event that its handling waits for."""
    tried: list[str] = field(default_factory=list)
    """Message id of every attempt, in order."""
    handled: list[str] = field(default_factory=list)
    """Ids of successful messages, each once, as by an inbox."""
    parked: list[tuple[str, str]] = field(default_factory=list)
    """(message id, cause) of the dead letters."""

    def __post_init__(self) -> None:
        policy = FlowPolicy(
            coupling=Coupling.ONE_WAY, max_attempts=self.max_attempts, backoff_s=(0.05,), on_poison=self.on_poison
        )
        policies = dict.fromkeys(FLOWS, policy)
        self.sequencer = KeySequencer(
            {f"{GROUP}.0": GROUP},
            self.blocked_keys,
            self._handle,
            dead_letter=self._dead_letter,
            policies=policies,
            observer=NullObserver(),
        )

    async def receive(self, *envelopes: Envelope) -> None:
        """Process deliveries one after another."""
        for envelope in envelopes:
            await self.sequencer.process(GROUP, envelope)

    async def retry_due(self) -> None:
        """Retry as ``KeySequencer.run`` does, until no key is due."""
        while keys := await self.blocked_keys.list_due_keys(10):
            for group, key in keys:
                await self.sequencer._resume_key(group, key)

    async def _handle(self, envelope: Envelope) -> None:
        self.tried.append(envelope.id)
        if hang := self.hangs.get(envelope.id):
            await hang.wait()
        error, attempts = self.fails.get(envelope.id, (None, 0))
        if error and envelope.attempt <= attempts:
            raise error
        if envelope.id not in self.handled:
            self.handled.append(envelope.id)

    async def _dead_letter(self, group: str, envelope: Envelope, cause: str, error: Exception | None) -> None:
        del group, error
        self.parked.append((envelope.id, cause))


def message_of(key: str, number: int, **changes: Any) -> Envelope:
    """A message of the key, with the id ``key-number``."""
    return replace(request(key), id=f"{key}-{number}", **changes)
