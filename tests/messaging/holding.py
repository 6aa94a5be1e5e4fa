"""A receiver that keeps order, over a database of its own or a list, and messages that fail as they are told to."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.channel import Unreachable
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Permanent
from prebook.messaging.observer import Unwatched
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.recoverability.blocked_keys import Holds, Place, Standing
from prebook.messaging.recoverability.key_sequencer import Ordering
from prebook.patterns.message_groups import OnPoison
from tests.messaging.examples import request

GROUP = "notification.events.notify_rider"


class Poison(Permanent):
    cause = "poison"


@dataclass
class MemoryHolds(Holds):
    """Implements messaging.holds.Holds. Every pause is over at once, or never: ``patient`` decides."""

    rows: list[tuple[str, Envelope, Standing]] = field(default_factory=list)
    patient: bool = False
    away: bool = False

    async def place(self, group: str, envelope: Envelope) -> Place:
        if self.away:
            raise Unreachable("no database")
        own = [s for g, e, s in self.rows if (g, e.id) == (group, envelope.id)]
        key = self._of(group, envelope.conversation)
        return Place(own[0] if own else None, key[-1][1] if key else None)

    async def put_down(self, group: str, envelope: Envelope, standing: Standing, *, pause_s: float, why: str) -> None:
        del why, pause_s
        for number, (at, other, _) in enumerate(self.rows):
            if (at, other.id) == (group, envelope.id):
                self.rows[number] = (group, envelope, standing)
                return
        self.rows.append((group, envelope, standing))

    async def let_go(self, group: str, envelope: Envelope) -> None:
        key = [e.id for e, _ in self._of(group, envelope.conversation)]
        gone = key[: key.index(envelope.id) + 1] if envelope.id in key else []
        self.rows = [row for row in self.rows if (row[0], row[1].id) not in {(group, id_) for id_ in gone}]

    async def first(self, group: str, key: str) -> Envelope | None:
        waiting = [e for e, s in self._of(group, key)[:1] if s is Standing.WAITING and not self.patient]
        return next(iter(waiting), None)

    async def waiting(self, group: str, key: str) -> Sequence[Envelope]:
        return [e for e, s in self._of(group, key) if s is Standing.WAITING]

    async def due(self, limit: int) -> Sequence[tuple[str, str]]:
        keys = dict.fromkeys((group, e.conversation) for group, e, _ in self.rows)
        return [key for key in keys if await self.first(*key)][:limit]

    @asynccontextmanager
    async def alone(self, group: str, key: str) -> AsyncIterator[bool]:
        del group, key
        yield True

    def _of(self, group: str, key: str) -> list[tuple[Envelope, Standing]]:
        return [(e, s) for g, e, s in self.rows if (g, e.conversation) == (group, key)]


@dataclass
class Receiver:
    """``fails``: message id -> what to raise, and for how many attempts."""

    holds: Holds
    on_poison: OnPoison = OnPoison.GO_ON
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
        self.order = Ordering(
            {f"{GROUP}.0": GROUP}, self.holds, self._door, aside=self._aside, policies=policies, watch=Unwatched()
        )

    async def take(self, *envelopes: Envelope) -> None:
        for envelope in envelopes:
            await self.order.take(GROUP, envelope)

    async def settle(self) -> None:
        """As the loop does it, until nothing is due."""
        while keys := await self.holds.due(10):
            for group, key in keys:
                await self.order._resumed(group, key)

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
