"""Time limits of the flows in the suite under test, from PREBOOK_FLOW_LIMITS."""

from collections.abc import Mapping

import msgspec

from prebook.flows import FLOWS
from prebook.lab.suite_client.settings import InvalidEnvironment

VARIABLE = "PREBOOK_FLOW_LIMITS"


class FlowLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits of one flow, in seconds, as in couplings.toml."""

    deadline_s: float
    """Time after which the caller goes on without a reply."""
    timeout_s: float
    """Time of one synchronous call, retries included."""


def read_flow_limits(environ: Mapping[str, str]) -> Mapping[str, FlowLimits]:
    """Return flow -> limits.

    Raises:
        InvalidEnvironment: the variable is missing, unreadable, or lacks a flow.
    """
    try:
        limits = msgspec.json.decode(environ.get(VARIABLE, "{}"), type=dict[str, FlowLimits])
    except msgspec.DecodeError as error:
        raise InvalidEnvironment([f"{VARIABLE}: {error}"]) from error
    if missing := FLOWS.keys() - limits.keys():
        raise InvalidEnvironment([f"{VARIABLE} has no limits of {', '.join(sorted(missing))}"])
    return limits
