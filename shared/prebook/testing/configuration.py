"""Settings and policies of services that run in memory."""

from typing import Any

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, SERVICES
from prebook.messaging.policy import FlowPolicy
from prebook.runtime.settings import ServiceSettings


def make_settings(**changes: Any) -> ServiceSettings:
    """Return settings with ``changes``; addresses and secrets have values that nothing in memory uses for real."""
    required: dict[str, Any] = {
        "database_url": "postgresql+asyncpg://memory",
        "amqp_url": "amqp://memory",
        "callback_secrets": ("a secret for services in memory",),
        "couplings": "memory",
        **{f"url_{name}": f"http://{name}" for name in SERVICES},
    }
    return ServiceSettings(**{**required, **changes})


def make_policies(coupling: Coupling = Coupling.ONE_WAY, **changes: Any) -> dict[str, FlowPolicy]:
    """Return the same policy for every flow: its default ``coupling``, and ``changes`` to the other values."""
    return {name: FlowPolicy(coupling=coupling, **changes) for name in FLOWS}
