"""Lifetime that bodies in a claim store need, computed from the topology: archive, expiry, retries and parking.

Source: EIP, Claim Check; the parts are those of ``patterns.claim_check.ClaimLifetime``.
"""

import re

from prebook.messaging import addresses
from prebook.messaging.policy import Policies
from prebook.patterns.claim_check import ClaimLifetime
from prebook.patterns.retry import (
    JITTER_FACTORS,
    MAX_EXTERNAL_ATTEMPTS,
    MAX_EXTERNAL_BACKOFF_S,
    retry_schedule,
)
from prebook.topology.values import Topology

MISSED_EXTENSIONS = 24
"""Extensions that operations may miss in a row, while it or the service is away, before a body is lost."""
_SECONDS_BY_UNIT = {"Y": 365 * 86_400, "M": 30 * 86_400, "D": 86_400, "h": 3_600, "m": 60, "s": 1}
_MAX_AGE = re.compile(r"(\d+)([YMDhms])")
"""RabbitMQ's notation for the retention of a stream."""


def claim_lifetime(
    topology: Topology, policies: Policies, *, unexpiring_ttl_s: float, extension_interval_s: float
) -> ClaimLifetime:
    """Return the lifetime that the bodies of messages need.

    ``unexpiring_ttl_s``: how long a message without an expiry may wait for its receiver, in seconds.
    ``extension_interval_s``: seconds between two extensions of the bodies that dead letters refer to.
    """
    return ClaimLifetime(
        archive_s=_archive_s(topology),
        message_ttl_s=max(unexpiring_ttl_s, *(policy.deadline_s for policy in policies.values())),
        retries_s=max(_external_retries_s(), *(_retries_s(policies, flow) for flow in policies)),
        parking_s=MISSED_EXTENSIONS * extension_interval_s,
    )


def _archive_s(topology: Topology) -> float:
    """Return how long the archive keeps a message; 0 without an archive."""
    for policy in topology.policies:
        if policy.name == addresses.ARCHIVE_QUEUE:
            match = _MAX_AGE.fullmatch(str(dict(policy.definition)["max-age"]))
            assert match is not None  # noqa: S101 - the model writes RabbitMQ's notation
            return float(int(match[1]) * _SECONDS_BY_UNIT[match[2]])
    return 0.0


def _retries_s(policies: Policies, flow: str) -> float:
    schedule = retry_schedule(max_attempts=policies[flow].max_attempts, backoff_s=policies[flow].backoff_s)
    return schedule[-1].at_s[1]


def _external_retries_s() -> float:
    """Return the longest time for which a message is retried whose handler calls a system outside of the suite."""
    return MAX_EXTERNAL_ATTEMPTS * MAX_EXTERNAL_BACKOFF_S * max(JITTER_FACTORS)
