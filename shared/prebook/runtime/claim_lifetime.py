"""Lifetime of the bodies in a service's claim store: as configured, and never shorter than the topology requires."""

from prebook.messaging.policy import Policies, retry_delays_s
from prebook.patterns.claim_check import ClaimLifetime
from prebook.runtime.environment import BadSettings
from prebook.runtime.retention import INBOX_DEDUP_S
from prebook.runtime.settings import ServiceSettings
from prebook.topology.claim_lifetime import claim_lifetime
from prebook.topology.model import suite_topology


def required_lifetime(settings: ServiceSettings, policies: Policies) -> ClaimLifetime:
    """Return the lifetime that the suite's topology requires.

    A message without an expiry is promised its one effect within the deduplication window, so it may wait that long.
    """
    return claim_lifetime(
        suite_topology(retry_delays_s(policies)),
        policies,
        unexpiring_ttl_s=INBOX_DEDUP_S,
        extension_interval_s=settings.claim_check_extension_s,
    )


def claim_lifetime_s(settings: ServiceSettings, policies: Policies) -> float:
    """Return the lifetime of a stored body in seconds: the configured one, or the required one if none is.

    Raises BadSettings if the configured one is shorter than required.
    """
    required = required_lifetime(settings, policies)
    if not settings.claim_check_lifetime_s:
        return required.required_s
    if problem := required.problem_of(settings.claim_check_lifetime_s):
        raise BadSettings(
            f"PREBOOK_CLAIM_CHECK_LIFETIME_S: {problem}; leave it out, or set at least {required.required_s:g}"
        )
    return settings.claim_check_lifetime_s
