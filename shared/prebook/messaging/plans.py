"""A plan as one header: ``quote_fare=sync_api,find_driver=one_way``, in the catalogue's order."""

from functools import lru_cache

from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FLOWS


def spell(plan: Plan) -> str:
    return ",".join(f"{name}={plan[name].value}" for name in FLOWS)


def read_plan(text: str) -> dict[str, Coupling]:
    """Raises ValueError where a flow is missing or a coupling is unknown."""
    return dict(_read(text))


@lru_cache(maxsize=1024)
def _read(text: str) -> Plan:
    """A suite has few plans, and each of them in thousands of messages."""
    try:
        pairs = dict(part.split("=", 1) for part in text.split(","))
        return {name: Coupling(pairs[name]) for name in FLOWS}
    except (KeyError, ValueError) as error:
        raise ValueError(f"a plan names a coupling for every flow, e.g. quote_fare=sync_api: {error}") from None
