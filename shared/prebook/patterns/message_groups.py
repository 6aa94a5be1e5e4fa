"""Message groups: all messages of a key go to one partition, and a partition has one active consumer at a time.

A key has one of ``HASH_SLOTS`` hash slots, a number that never changes; each receiver assigns the slots to its
partitions. So a sender need not know the number of partitions, and a key keeps its partition when the broker restarts.
Source: SQS, message group; RabbitMQ, single active consumer; Redis Cluster, hash slots.
"""

from enum import StrEnum
from zlib import crc32

HASH_SLOTS = 16
"""Number of hash slots, and so the maximum number of partitions of a group."""


class OnPoison(StrEnum):
    """Handling of later messages of a key when one of its messages has been parked."""

    CONTINUE = "continue"
    """Later messages are handled."""
    BLOCK = "block"
    """Later messages wait at the receiver until the parked message has been replayed."""
    PARK = "park"
    """Later messages are parked as well, in order, until the parked messages have been replayed."""


def hash_slot(key: str) -> int:
    """Return the hash slot of a key."""
    return crc32(key.encode()) % HASH_SLOTS


def hash_slots_of(partition: int, partitions: int) -> range:
    """Return the hash slots of a partition; every slot belongs to exactly one of the ``partitions``."""
    return range(partition, HASH_SLOTS, partitions)


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key in a group of ``partitions``."""
    return hash_slot(key) % partitions
