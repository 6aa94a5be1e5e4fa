"""Availability of each fault in the running suite, with the reason for those that cannot be injected."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from prebook.devstack.supervisor.contract import ProcessInfo, ProxyInfo, ServerInfo
from prebook.flows import ASK_FLEET, CONSOLE, OPERATIONS
from prebook.lab.faults.broker_channel import open_admin_channel
from prebook.lab.faults.catalogue import FAULT_CATALOGUE
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, FaultKind, Need
from prebook.lab.suite_client.broker_management import BrokerManagementError
from prebook.lab.suite_client.supervisor import SupervisorClient, SupervisorError

NO_CONTROL = "no supervisor is known: no suite is up, or PREBOOK_CONTROL_<SERVICE> is not set"
Resources = Sequence[ProcessInfo] | Sequence[ServerInfo] | Sequence[ProxyInfo]


@dataclass(frozen=True)
class SuiteCapabilities:
    """Capabilities of a suite for fault injection.

    ``processes``, ``servers`` and ``proxies`` are names known to supervisors. A ``..._problem`` says why an access does
    not exist, and is empty if it does.
    """

    processes: frozenset[str] = frozenset()
    servers: frozenset[str] = frozenset()
    proxies: frozenset[str] = frozenset()
    broker_nodes: int = 0
    control_problem: str = ""
    management_problem: str = ""
    amqp_problem: str = ""
    partners_problem: str = ""


async def read_capabilities(fault_access: FaultAccess) -> SuiteCapabilities:
    """Query supervisors and broker concurrently. A supervisor that does not respond contributes no names."""
    processes, servers, proxies, (nodes, management_problem), amqp_problem = await asyncio.gather(
        _read_process_names(fault_access),
        _read_names(fault_access, CONSOLE, SupervisorClient.list_servers),
        _read_names(fault_access, CONSOLE, SupervisorClient.list_proxies),
        _count_nodes(fault_access),
        _check_amqp(fault_access),
    )
    return SuiteCapabilities(
        processes=processes,
        servers=servers,
        proxies=proxies,
        broker_nodes=nodes,
        control_problem="" if fault_access.supervisor_urls else NO_CONTROL,
        management_problem=management_problem,
        amqp_problem=amqp_problem,
        partners_problem=_check_partners(fault_access),
    )


async def _read_process_names(fault_access: FaultAccess) -> frozenset[str]:
    """Query each process at its own supervisor, so that an unresponsive supervisor hides only its own process."""
    names_by_supervisor = await asyncio.gather(
        *(
            _read_names(fault_access, service, SupervisorClient.list_processes)
            for service in fault_access.supervisor_urls
        )
    )
    return frozenset(
        service
        for service, names in zip(fault_access.supervisor_urls, names_by_supervisor, strict=True)
        if service in names
    )


async def _read_names(
    fault_access: FaultAccess, owned: str, list_resources: Callable[[SupervisorClient], Awaitable[Resources]]
) -> frozenset[str]:
    try:
        return frozenset(resource.name for resource in await list_resources(fault_access.supervisor(owned)))
    except SupervisorError:
        return frozenset()


async def _count_nodes(fault_access: FaultAccess) -> tuple[int, str]:
    try:
        return len(await fault_access.broker.get("nodes")), ""
    except BrokerManagementError as error:
        return 0, str(error)


def _check_partners(fault_access: FaultAccess) -> str:
    is_known = ASK_FLEET.provider in fault_access.addresses.internal and fault_access.addresses.console_secrets
    return "" if is_known else "fleets cannot be called; set PREBOOK_INTERNAL_URL_FLEETS and PREBOOK_CONSOLE_SECRETS"


async def _check_amqp(fault_access: FaultAccess) -> str:
    if not fault_access.amqp_url:
        return "the broker's address is unknown; set PREBOOK_AMQP_URL"
    try:
        async with open_admin_channel(fault_access):
            return ""
    except Exception as error:  # noqa: BLE001 - any error is the reason to report
        return f"the broker refuses an administrator's connection: {str(error) or type(error).__name__}"


NO_PROXIES = (
    "the suite runs without fault proxies; start it with `prebook up --fault-proxies`, or containers with "
    "PREBOOK_FAULT_PROXIES=1"
)
ONE_NODE = "the broker has one node"
PROCESS_KINDS = frozenset(
    {
        FaultKind.KILL,
        FaultKind.PAUSE,
        FaultKind.BROWNOUT,
        FaultKind.CLOCK_SKEW,
        FaultKind.QUEUE_FULL,
        FaultKind.CRASHING_POISON,
    }
)
"""Kinds whose target is a process; the target of every other kind is a server or a fault proxy."""


@dataclass(frozen=True)
class FaultAvailability:
    """A fault, and whether it can be injected into the running suite."""

    fault: Fault
    unavailable_reason: str
    """Reason why the fault cannot be injected; empty if it can."""


async def survey_faults(fault_access: FaultAccess) -> Sequence[FaultAvailability]:
    """Return the availability of every fault, in the order of the catalogue."""
    capabilities = await read_capabilities(fault_access)
    return [FaultAvailability(fault, unavailable_reason(fault, capabilities)) for fault in FAULT_CATALOGUE.values()]


async def list_available_faults(fault_access: FaultAccess) -> Sequence[Fault]:
    """Return the faults that can be injected into the running suite."""
    return [entry.fault for entry in await survey_faults(fault_access) if not entry.unavailable_reason]


def unavailable_reason(fault: Fault, capabilities: SuiteCapabilities) -> str:
    """Return why ``fault`` cannot be injected, joined by semicolons; empty if it can. Does no I/O."""
    return "; ".join(reason for need in Need if need in fault.needs and (reason := REASONS[need](fault, capabilities)))


def _no_process(fault: Fault, capabilities: SuiteCapabilities) -> str:
    is_missing = fault.kind in PROCESS_KINDS and fault.target not in capabilities.processes
    return capabilities.control_problem or (f"the supervisor has no process {fault.target}" if is_missing else "")


def _no_server(fault: Fault, capabilities: SuiteCapabilities) -> str:
    if capabilities.control_problem or fault.target in capabilities.servers:
        return ""
    return f"the console cannot restart the {fault.target}: it did not start it, and no control loop runs beside it"


def _no_proxy(fault: Fault, capabilities: SuiteCapabilities) -> str:
    if capabilities.control_problem or fault.target in capabilities.proxies:
        return ""
    return f"the supervisor has no fault proxy {fault.target}" if capabilities.proxies else NO_PROXIES


def _no_operations(_: Fault, capabilities: SuiteCapabilities) -> str:
    return "" if OPERATIONS in capabilities.processes else f"no {OPERATIONS} is running"


def _no_cluster(_: Fault, capabilities: SuiteCapabilities) -> str:
    return "" if capabilities.management_problem or capabilities.broker_nodes > 1 else ONE_NODE


REASONS: Mapping[Need, Callable[[Fault, SuiteCapabilities], str]] = {
    Need.CONTROL: _no_process,
    Need.MANAGEMENT: lambda _, capabilities: capabilities.management_problem,
    Need.AMQP: lambda _, capabilities: capabilities.amqp_problem,
    Need.OPERATIONS: _no_operations,
    Need.SERVERS: _no_server,
    Need.PROXIES: _no_proxy,
    Need.CLUSTER: _no_cluster,
    Need.PARTNERS: lambda _, capabilities: capabilities.partners_problem,
}
"""Need -> function that returns why the suite does not meet it for a fault, or an empty text."""
