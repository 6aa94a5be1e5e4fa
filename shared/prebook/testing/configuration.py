"""Settings and policies of services that run in memory."""

from typing import Any

import msgspec

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, SERVICES, callers_of
from prebook.messaging.policy import FlowPolicy
from prebook.runtime.call_secrets import derive_caller_secrets
from prebook.runtime.settings import ServiceSettings


def make_settings(**changes: Any) -> ServiceSettings:
    """Return settings with ``changes``; addresses and secrets have values that nothing in memory uses for real.

    The services of a world, and a service on its own, sign and verify by ``with_call_secrets``.
    """
    required: dict[str, Any] = {
        "database_url": "postgresql+asyncpg://memory",
        "amqp_url": "amqp://memory",
        "signing_secrets": ("a secret of no service",),
        "caller_secrets": ("console=a secret of nobody, for no service",),
        "couplings": "memory",
        **{f"internal_url_{name}": f"http://{name}" for name in SERVICES},
    }
    return ServiceSettings(**{**required, **changes})


def signing_secret_of(caller: str) -> str:
    """Return the secret by which a service, or the console, signs its calls in memory."""
    return f"a secret of {caller}, for calls in memory"


def with_call_secrets(settings: ServiceSettings, service: str) -> ServiceSettings:
    """Return the settings with secrets by which ``service`` signs its calls and verifies those of its callers."""
    secrets = {caller: (signing_secret_of(caller),) for caller in callers_of(service)}
    return msgspec.structs.replace(
        settings,
        signing_secrets=(signing_secret_of(service),),
        caller_secrets=derive_caller_secrets(service, secrets),
    )


def make_policies(coupling: Coupling = Coupling.ONE_WAY, **changes: Any) -> dict[str, FlowPolicy]:
    """Return the same policy for every flow: its default ``coupling``, and ``changes`` to the other values."""
    return {name: FlowPolicy(coupling=coupling, **changes) for name in FLOWS}
