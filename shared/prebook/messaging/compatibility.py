"""Comparison of two snapshots of the contracts: who can read whom, and who must be upgraded first.

Backward: a new receiver reads what old senders have written, in queues, dead letters and archives too. Forward: an old
receiver reads what new senders write, in the newest version or in one that they can be configured to write.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from prebook.messaging.contract_snapshot import MessageContract, Snapshot
from prebook.patterns.schema_compatibility import reading_problems


class Compatibility(StrEnum):
    """Directions in which two releases understand each other."""

    FULL = "full"
    BACKWARD = "backward"
    FORWARD = "forward"
    NONE = "none"


class Upgrade(StrEnum):
    """Services that must be upgraded first."""

    ANY = "any order"
    RECEIVERS = "receivers first"
    SENDERS = "senders first, and no older message may be left"
    IMPOSSIBLE = "no order works"


UPGRADES = {
    Compatibility.FULL: Upgrade.ANY,
    Compatibility.BACKWARD: Upgrade.RECEIVERS,
    Compatibility.FORWARD: Upgrade.SENDERS,
    Compatibility.NONE: Upgrade.IMPOSSIBLE,
}


@dataclass(frozen=True, kw_only=True)
class MessageComparison:
    """Comparison of one message.

    ``write_version``: version that new senders must be configured to write until all receivers are upgraded; None if
    the newest is understood, or none.
    """

    name: str
    compatibility: Compatibility
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    write_version: int | None
    backward_problems: tuple[str, ...]
    """Reasons why new receivers cannot read what old senders have written."""
    forward_problems: tuple[str, ...]
    """Reasons why old receivers cannot read the newest version of new senders."""

    @property
    def upgrade(self) -> Upgrade:
        """Services that must be upgraded first."""
        return UPGRADES[self.compatibility]

    @property
    def is_breaking(self) -> bool:
        """Whether messages that exist, or that services exchange during the upgrade, become unreadable for good."""
        return self.compatibility in {Compatibility.FORWARD, Compatibility.NONE}


def compare(old: Snapshot, new: Snapshot) -> list[MessageComparison]:
    """Compare every message of two snapshots, by name."""
    names = sorted({*old.messages, *new.messages})
    return [_compare(name, old.messages.get(name), new.messages.get(name)) for name in names]


def _compare(name: str, old: MessageContract | None, new: MessageContract | None) -> MessageComparison:
    known = new or old
    assert known is not None  # noqa: S101 - the name is from one of the two
    backward = tuple(_backward_problems(old, new))
    forward = tuple(_forward_problems(old, new, new.newest)) if new else ()
    write_version = _readable_version(old, new) if forward else None
    return MessageComparison(
        name=name,
        compatibility=_verdict(is_backward=not backward, is_forward=not forward or write_version is not None),
        senders=known.senders,
        receivers=known.receivers,
        write_version=write_version,
        backward_problems=backward,
        forward_problems=forward,
    )


def _verdict(*, is_backward: bool, is_forward: bool) -> Compatibility:
    if is_backward:
        return Compatibility.FULL if is_forward else Compatibility.BACKWARD
    return Compatibility.FORWARD if is_forward else Compatibility.NONE


def _backward_problems(old: MessageContract | None, new: MessageContract | None) -> Iterator[str]:
    if old is None:
        return
    for number, written in old.versions.items():
        if new is None or number not in new.versions:
            yield f"version {number}: new receivers do not know it"
        else:
            yield from (f"version {number}: {problem}" for problem in reading_problems(new.versions[number], written))


def _forward_problems(old: MessageContract | None, new: MessageContract, number: int) -> Iterator[str]:
    if old is None or number not in old.versions:
        yield f"version {number}: old receivers do not know it"
    else:
        problems = reading_problems(old.versions[number], new.versions[number])
        yield from (f"version {number}: {problem}" for problem in problems)


def _readable_version(old: MessageContract | None, new: MessageContract | None) -> int | None:
    """Return the newest version of new senders that old receivers read."""
    if new is None:
        return None
    readable = (number for number in sorted(new.versions, reverse=True) if not any(_forward_problems(old, new, number)))
    return next(readable, None)
