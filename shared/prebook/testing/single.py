"""One service on its own, for tests of its API, its handlers or its loops."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from prebook.coupling.ports import HttpClient
from prebook.messaging.clock import utc_now
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitsOfWork
from prebook.runtime.assembly import AssembledService, ServicePorts, assemble
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings
from prebook.testing.broker import MemoryBroker
from prebook.testing.configuration import make_policies, make_settings, with_call_secrets
from prebook.testing.http import MemoryHttp
from prebook.testing.memory import MemoryDatabase


def assemble_alone(
    service: Service[Any],
    begin: BeginUnitOfWork[Any],
    *,
    settings: ServiceSettings | None = None,
    policies: Policies | None = None,
    http: HttpClient | None = None,
    observer: MessagingObserver | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> AssembledService[Any]:
    """Assemble a service over the units of work of ``begin``, in memory or on PostgreSQL, and over an empty broker.

    ``http``: stands for the other services; without it there are none. Nothing reads the outbox.
    """
    observer = observer or NullObserver()
    unused = MemoryDatabase(None)
    ports: ServicePorts[Any] = ServicePorts(
        http=http or MemoryHttp({}, ()),
        publisher=MemoryBroker(),
        units=UnitsOfWork.of_one(begin),
        relay=Relay(unused, observer),
        pending_replies=unused,
        clock=clock,
    )
    with_secrets = with_call_secrets(settings or make_settings(), service.name)
    return assemble(service, with_secrets, policies or make_policies(), ports, observer)
