"""Storage port of the dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prebook.contracts.dead_letters import (
    ChangedDeadLetters,
    DeadLetterFilter,
    DeadLetterSelection,
    DeadLetterState,
    DeadLetterSummary,
    DeadLetterView,
    FailureGroups,
)
from prebook.messaging.unit_of_work import UnitOfWork
from prebook.operations.dead_letters.record import DeadLetterRecord


@dataclass(frozen=True, slots=True)
class BodyReference:
    """Claim check of a dead letter, as its headers have it."""

    dead_letter_id: int
    kind: str
    flow: str
    path: str
    """Value of the header ``ce-dataref``."""


class UnstorableMessage(Exception):
    """The database cannot store this record, however often it is tried."""


class DeadLetterWork(UnitOfWork, Protocol):
    """Unit of work on dead letters. ``operator``: who makes a change; kept with it."""

    async def add_dead_letter(self, record: DeadLetterRecord) -> bool:
        """Store a dead letter; return False if this occurrence is stored already.

        If the message was sent by a replay, its redelivery becomes ``failed_again``.

        Raises UnstorableMessage.
        """
        ...

    async def list_dead_letters(
        self, states: Sequence[DeadLetterState], where: DeadLetterFilter, before: int, limit: int
    ) -> Sequence[DeadLetterSummary]:
        """Return at most ``limit`` dead letters with an id below ``before``, the newest first."""
        ...

    async def list_body_references(self, after: int, limit: int) -> Sequence[BodyReference]:
        """Return claim checks of dead letters that are not resolved, in the order of their ids, from above ``after``.

        A dead letter without a claim check is none of the ``limit``.
        """
        ...

    async def list_groups(self, state: DeadLetterState) -> FailureGroups:
        """Return the failure groups of the dead letters in ``state``, the largest first."""
        ...

    async def find_dead_letter(self, dead_letter_id: int) -> DeadLetterView | None:
        """Return a dead letter in full; None if there is none with this id."""
        ...

    async def add_note(self, dead_letter_id: int, text: str, *, operator: str) -> bool:
        """Add a note; return False if there is no dead letter with this id."""
        ...

    async def edit(
        self,
        dead_letter_id: int,
        headers: Mapping[str, str | None],
        payload: bytes | None,
        reason: str,
        *,
        operator: str,
    ) -> int:
        """Add an edited version and return its number; 0 if there is no parked dead letter with this id.

        ``headers``: changed headers, None for one to remove. ``payload``: None to keep the current one.
        """
        ...

    async def discard(self, selection: DeadLetterSelection, reason: str, *, operator: str) -> ChangedDeadLetters:
        """Discard the selected dead letters that are parked."""
        ...

    async def restore(self, selection: DeadLetterSelection, *, operator: str) -> ChangedDeadLetters:
        """Park the selected dead letters that are discarded."""
        ...
