"""A service context for tests of one service's API or loops, without the other services."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from prebook.messaging.channel import Channels
from prebook.messaging.clock import utc_now
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import Handlers
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitsOfWork
from prebook.runtime.service import ServiceContext
from prebook.runtime.settings import ServiceSettings
from prebook.testing.memory import MemoryBroker, MemoryHttp


def make_context(
    service: str,
    begin: BeginUnitOfWork[Any],
    settings: ServiceSettings,
    *,
    handlers: Handlers[Any] | None = None,
    channels: Channels | None = None,
    policies: Policies | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> ServiceContext[Any]:
    """Build the context that ``runtime.assembly`` gives to a service's edge, over ``begin`` and an empty network."""
    units = UnitsOfWork.of_one(begin)
    channels_used: Mapping[Any, Any] = channels or {}
    policies_used = policies or {}
    gateway = create_gateway(service, handlers or Handlers(), units, channels_used, policies_used, clock=clock)
    http = MemoryHttp({}, ())
    return ServiceContext(gateway, units, settings, policies_used, channels_used, MemoryBroker({}), http, lambda: None)
