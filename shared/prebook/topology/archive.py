"""Archive: a stream of everything published to the topic exchange, and the account that may read it.

Source: EIP, Message Store; Wire Tap.
"""

import tomllib
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Annotated

import msgspec

from prebook.messaging import addresses
from prebook.messaging.errors import InvalidPolicies
from prebook.text_file import read_text
from prebook.topology.retry_and_dead_letter import exact_match
from prebook.topology.values import (
    ANY_ROUTING_KEY,
    Arguments,
    Binding,
    Grant,
    Policy,
    Queue,
    ReadGrant,
    Topology,
    arguments,
)

ARCHIVE_STREAM = Queue(addresses.ARCHIVE_QUEUE, arguments(x_queue_type="stream"))
MAX_DAYS = 7
"""Longest retention: the receivers' deduplication window, beyond which a replay is ineligible."""
DAY_S = 24 * 3600
BYTES_PER_RIDE = 15_000
"""Archived bytes of a ride whose flows all use the broker: half of its measured AMQP traffic (docs/results/ride.md)."""
BYTES_PER_GB = 1_000_000_000
SEGMENT_BYTES = 50_000_000
"""Size of a stream segment; retention removes whole segments only."""


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table ``archive`` of couplings.toml. A field's description is its meaning in docs/reference/settings.md."""

    days: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS, description="days for which the archive keeps messages")] = (
        MAX_DAYS
    )
    rides_per_s: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=100_000, description="average rate of rides over these days; the archive's size follows from it"
        ),
    ] = 0.1
    max_gb: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=100_000,
            description="disk of every broker node that the archive may take; a size above it is refused",
        ),
    ] = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError if the messages of the whole retention do not fit."""
        if self.max_bytes > self.max_gb * BYTES_PER_GB:
            raise ValueError(
                f"{self.days} days at {self.rides_per_s:g} rides/s are {self.max_bytes / BYTES_PER_GB:.1f} GB, above "
                f"max_gb = {self.max_gb:g}: allow more disk, or keep fewer days"
            )

    @property
    def max_bytes(self) -> int:
        """Size of the messages of the whole retention."""
        return ceil(self.days * DAY_S * self.rides_per_s * BYTES_PER_RIDE)


DEFAULT_RETENTION = RetentionPolicy()


class _ArchiveTable(msgspec.Struct):
    """The table of couplings.toml that concerns the archive; other modules read the others."""

    archive: RetentionPolicy = DEFAULT_RETENTION


def read_archive_retention(path: Path) -> RetentionPolicy:
    """Read the retention from a couplings.toml. Raises InvalidPolicies, also if its size is refused."""
    try:
        return msgspec.convert(tomllib.loads(read_text(path)), _ArchiveTable).archive
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidPolicies(f"{path}: {error}") from error


def archive_topology(base: Topology, retention: RetentionPolicy = DEFAULT_RETENTION) -> Topology:
    """Bind the stream to every routing key of the topic exchange that ``base`` binds to a queue.

    Other keys stay unbound, so that publishing with them is reported as unroutable.
    """
    keys = {binding.routing_key for binding in base.bindings if binding.exchange == addresses.EVENTS}
    if not keys:
        return Topology()
    return Topology(
        queues=frozenset({ARCHIVE_STREAM}),
        bindings=frozenset(Binding(addresses.EVENTS, key, ARCHIVE_STREAM.name) for key in keys),
        policies=frozenset({Policy(ARCHIVE_STREAM.name, exact_match(ARCHIVE_STREAM.name), _arguments(retention))}),
        read_grants=frozenset({ReadGrant(addresses.ARCHIVE_READER, ARCHIVE_STREAM.name)}),
        grants=frozenset({Grant(addresses.ARCHIVE_READER, addresses.REDELIVER, ANY_ROUTING_KEY)}),
        message_grants=frozenset(
            replace(grant, account=addresses.ARCHIVE_READER, exchange=addresses.REDELIVER, routing_key=grant.queue)
            for grant in base.message_grants
            if grant.exchange == addresses.EVENTS
        ),
    )


def _arguments(retention: RetentionPolicy) -> Arguments:
    return arguments(
        max_age=f"{retention.days}D",
        max_length_bytes=retention.max_bytes,
        stream_max_segment_size_bytes=SEGMENT_BYTES,
    )
