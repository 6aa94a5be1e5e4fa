"""Header form of a plan: ``quote_fare=sync_api,find_driver=one_way``, in the order of the flow catalogue."""

from functools import lru_cache

from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FLOWS

MAX_PLAN_CHARS = 4096
"""Maximum length of a header value, which a cache keeps; a plan of four flows has 100."""
MAX_CACHED_PLANS = 1024
"""Plans in each cache: a suite has few plans, each in thousands of messages."""


def encode_plan(plan: Plan) -> str:
    """Return the header value of a plan. Raises KeyError if the plan lacks a flow."""
    return _encode(tuple(map(plan.__getitem__, FLOWS)))


def decode_plan(text: str) -> dict[str, Coupling]:
    """Return the plan of a header value. Raises ValueError for a missing flow, an unknown coupling, or a long value."""
    if len(text) > MAX_PLAN_CHARS:
        raise ValueError(f"a plan has at most {MAX_PLAN_CHARS} characters, not {len(text)}")
    return dict(_decode(text))


@lru_cache(maxsize=MAX_CACHED_PLANS)
def _encode(couplings: tuple[Coupling, ...]) -> str:
    return ",".join(f"{name}={coupling.value}" for name, coupling in zip(FLOWS, couplings, strict=True))


@lru_cache(maxsize=MAX_CACHED_PLANS)
def _decode(text: str) -> Plan:
    try:
        pairs = dict(part.split("=", 1) for part in text.split(","))
        return {name: Coupling(pairs[name]) for name in FLOWS}
    except (KeyError, ValueError) as error:
        raise ValueError(f"a plan names a coupling for every flow, e.g. quote_fare=sync_api: {error}") from None
