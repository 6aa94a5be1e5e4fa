"""Message groups: what has one key is spread to one partition, and one consumer at a time takes from a partition.

A key has a slot, out of a number that never changes; a receiver shares the slots out among its partitions. So the
sender need not know how many partitions there are, and a key stays where it is over every restart of the broker.
"""

from enum import StrEnum
from zlib import crc32

HASH_SLOTS = 16
"""The most partitions that a group can have."""


class OnPoison(StrEnum):
    """What becomes of a key when one of its messages is parked."""

    CONTINUE = "continue"
    """What comes after it is handled without it."""
    BLOCK = "block"
    """What comes after it waits at the receiver until the parked one has been replayed."""
    PARK = "park"
    """What comes after it is parked behind it, in order, until the parked ones have been replayed."""


def hash_slot(key: str) -> int:
    return crc32(key.encode()) % HASH_SLOTS


def hash_slots_of(partition: int, partitions: int) -> range:
    """Every slot belongs to exactly one partition."""
    return range(partition, HASH_SLOTS, partitions)


def partition_of(key: str, partitions: int) -> int:
    return hash_slot(key) % partitions
