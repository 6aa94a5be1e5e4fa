"""Which faults this suite can be given, and for the others why not."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from prebook.devstack.supervisor.contract import ProcessInfo, ProxyInfo, ServerInfo
from prebook.flows import OPERATIONS
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
    """Names of what there is. Empty texts: it is there; else why it is not. ``nodes``: of the broker."""

    processes: frozenset[str] = frozenset()
    servers: frozenset[str] = frozenset()
    proxies: frozenset[str] = frozenset()
    broker_nodes: int = 0
    control_problem: str = ""
    management_problem: str = ""
    amqp_problem: str = ""


async def read_capabilities(fault_access: FaultAccess) -> SuiteCapabilities:
    """One round of questions, all at once. Who does not answer has nothing."""
    processes, servers, proxies, (nodes, management_problem), amqp_problem = await asyncio.gather(
        _read_process_names(fault_access),
        _read_names(fault_access, "", SupervisorClient.list_servers),
        _read_names(fault_access, "", SupervisorClient.list_proxies),
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
    )


async def _read_process_names(fault_access: FaultAccess) -> frozenset[str]:
    """Each is asked for at its own supervisor: one that does not answer takes its own process along, no other."""
    told = await asyncio.gather(
        *(
            _read_names(fault_access, service, SupervisorClient.list_processes)
            for service in fault_access.supervisor_urls
        )
    )
    return frozenset(
        service for service, known in zip(fault_access.supervisor_urls, told, strict=True) if service in known
    )


async def _read_names(
    fault_access: FaultAccess, service: str, list_resources: Callable[[SupervisorClient], Awaitable[Resources]]
) -> frozenset[str]:
    try:
        return frozenset(each.name for each in await list_resources(fault_access.supervisor(service)))
    except SupervisorError:
        return frozenset()


async def _count_nodes(fault_access: FaultAccess) -> tuple[int, str]:
    try:
        return len(await fault_access.broker.get("nodes")), ""
    except BrokerManagementError as refused:
        return 0, str(refused)


async def _check_amqp(fault_access: FaultAccess) -> str:
    if not fault_access.amqp_url:
        return "the broker's address is not known: PREBOOK_AMQP_URL is not set"
    try:
        async with open_admin_channel(fault_access):
            return ""
    except Exception as error:  # noqa: BLE001 - whatever keeps us from the broker is the reason
        return f"the broker does not take us as an administrator: {str(error) or type(error).__name__}"


NO_PROXIES = "the suite runs without fault proxies; start it with `prebook up --fault-proxies`"
ONE_NODE = "the broker has one node"
PROCESS_KINDS = frozenset(
    {FaultKind.KILL, FaultKind.PAUSE, FaultKind.BROWNOUT, FaultKind.CLOCK_SKEW, FaultKind.QUEUE_FULL}
)
"""Kinds whose target is a process; the others name a server, or a fault proxy."""


@dataclass(frozen=True)
class FaultAvailability:
    fault: Fault
    unavailable_reason: str
    """Empty where it can be injected here."""


async def survey_faults(fault_access: FaultAccess) -> Sequence[FaultAvailability]:
    """The whole catalogue, in its order."""
    capabilities = await read_capabilities(fault_access)
    return [FaultAvailability(fault, unavailable_reason(fault, capabilities)) for fault in FAULT_CATALOGUE.values()]


async def list_available_faults(fault_access: FaultAccess) -> Sequence[Fault]:
    """Those that can be injected here."""
    return [each.fault for each in await survey_faults(fault_access) if not each.unavailable_reason]


def unavailable_reason(fault: Fault, capabilities: SuiteCapabilities) -> str:
    """Why it cannot be injected; empty where it can. Pure."""
    return "; ".join(reason for need in Need if need in fault.needs and (reason := REASONS[need](fault, capabilities)))


def _no_process(fault: Fault, capabilities: SuiteCapabilities) -> str:
    wanted = fault.kind in PROCESS_KINDS and fault.target not in capabilities.processes
    return capabilities.control_problem or (f"the supervisor has no process {fault.target}" if wanted else "")


def _no_server(fault: Fault, capabilities: SuiteCapabilities) -> str:
    here = capabilities.control_problem or fault.target in capabilities.servers
    return "" if here else f"the supervisor did not start the {fault.target} itself"


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
}
"""For each need: why this suite does not have it for this fault, or nothing."""
