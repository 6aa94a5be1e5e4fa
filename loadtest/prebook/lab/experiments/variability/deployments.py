"""Deployments of all services on the testbed: one instance of a service replaces another without a pause.

Every service has an address that stays while its instances come and go, as behind a load balancer: otherwise each
change would also be an outage, and the matrix would show temporal coupling in every row.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Self

from prebook.devstack.polling import wait_until
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.proxies.proxy import FaultProxy, HostPort, host_port, open_proxies
from prebook.devstack.service_environment import process_specs
from prebook.devstack.supervisor.contract import ProcessSpec, ProcessState, ProxyFault, ProxyState
from prebook.devstack.supervisor.process import SupervisedProcess
from prebook.devstack.supervisor.supervisor import Supervisor
from prebook.flows import CONSOLE, PROCESSES
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentTestbed
from prebook.lab.suite_client.settings import SuiteAddresses

READY_TIMEOUT_S = 120.0
DRAIN_S = 0.5
"""Seconds in which an instance still takes the calls that were on their way when new ones went elsewhere."""
PORT_VARIABLES = ("PREBOOK_HTTP_PORT", "PREBOOK_INTERNAL_PORT")
RIDERS = "riders"
"""Name of the proxy in front of booking's public listener."""
ENTRY_SERVICE = "booking"
CLOSED_FOR_GOOD = ProxyFault(duration_s=86_400.0)
"""Longer than any run: an address that a service has left refuses connections until the service is back."""
PROGRAM = "prebook.lab.experiments.variability.changed_program"


@dataclass(frozen=True)
class Release:
    """Form in which a service is deployed. ``settings``: PREBOOK_* variables in addition to the suite's.

    ``change``: name of a change of its program, of ``changed_program``; empty for the program as it is.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    change: str = ""


CURRENT = Release()
"""The services as the suite has them."""


@dataclass(frozen=True)
class Instance:
    """A running instance of a service. ``stop`` ends it in order."""

    process: SupervisedProcess
    release: Release
    public_url: str
    internal_url: str
    stop: AsyncExitStack


@dataclass
class Deployments:
    """All services of a suite. ``console_secrets`` and ``operator_token`` sign the lab's calls to them."""

    specs: Mapping[str, ProcessSpec] = field(repr=False)
    proxies: Mapping[str, FaultProxy] = field(repr=False)
    console_secrets: tuple[str, ...] = field(repr=False)
    operator_token: str = field(repr=False)
    instances: dict[str, Instance] = field(default_factory=dict)
    started: int = 0
    """Number of instances started so far."""

    @classmethod
    @asynccontextmanager
    async def start(cls, testbed: ExperimentTestbed, settings: Mapping[str, str]) -> AsyncIterator[Self]:
        """Run all services with ``settings`` while the block runs, which starts once they are ready.

        Raises:
            UserError: A service did not become ready.
        """
        options = replace(testbed.options, settings=settings)
        upstreams = {proxy_name(service): [host_port(options.internal_urls[service])] for service in PROCESSES}
        riders = {RIDERS: [host_port(options.urls[ENTRY_SERVICE])]}
        async with open_proxies({**upstreams, **riders}) as proxies:
            specs = process_specs(options, testbed.stack, testbed.context.work_dir, proxies)
            secrets = tuple(options.keys.signing[CONSOLE])
            deployments = cls({spec.name: spec for spec in specs}, proxies, secrets, options.keys.console_tokens[0])
            try:
                await asyncio.gather(*(deployments.deploy(service, CURRENT) for service in PROCESSES))
                yield deployments
            finally:
                await asyncio.gather(*(instance.stop.aclose() for instance in deployments.instances.values()))

    @property
    def addresses(self) -> SuiteAddresses:
        """Addresses at which the lab reaches the present instances, past the proxies."""
        public = {service: instance.public_url for service, instance in self.instances.items()}
        internal = {service: instance.internal_url for service, instance in self.instances.items()}
        return SuiteAddresses(public, internal, self.console_secrets, self.operator_token)

    @property
    def riders_url(self) -> str:
        """Base URL at which riders reach booking, whatever instance runs."""
        return _url(self.proxies[RIDERS].addresses[0])

    def address(self, service: str) -> str:
        """Base URL at which other services reach a service, whatever instance runs."""
        return _url(self.proxies[proxy_name(service)].addresses[0])

    async def deploy(self, service: str, release: Release) -> None:
        """Start a new instance of a service, lead all new calls to it once it is ready, and stop the old one.

        Raises:
            UserError: The new instance did not become ready; the old one is still there.
        """
        instance = await self._start(service, release)
        await self.proxies[proxy_name(service)].heal()
        self.proxies[proxy_name(service)].redirect(host_port(instance.internal_url))
        await self._replace(service, instance)

    async def move(self, service: str, release: Release = CURRENT) -> str:
        """Deploy a service at another address, and return it; the former address refuses connections.

        Raises:
            UserError: The new instance did not become ready.
        """
        instance = await self._start(service, release)
        await self._replace(service, instance)
        await self.proxies[proxy_name(service)].inject(ProxyState.CUT, CLOSED_FOR_GOOD)
        return instance.internal_url

    async def restore(self, releases: Mapping[str, Release]) -> None:
        """Deploy every service at its own address: by ``releases``, or as the suite has it. Raises UserError."""
        await asyncio.gather(*(self._restore(service, releases.get(service, CURRENT)) for service in PROCESSES))

    async def _restore(self, service: str, release: Release) -> None:
        has_moved = self.proxies[proxy_name(service)].info().state is not ProxyState.HEALTHY
        if has_moved or self.instances[service].release != release:
            await self.deploy(service, release)

    async def kill(self, service: str, away_s: float) -> None:
        """Kill a service with SIGKILL, and return once it is back; it is started again after ``away_s`` seconds.

        Raises:
            UserError: The service did not become ready again.
        """
        process = self.instances[service].process
        killed = await process.kill(away_s)

        async def is_back() -> bool:
            return process.state is ProcessState.RUNNING and process.info().pid != killed.pid

        await wait_until(is_back, away_s + READY_TIMEOUT_S, subject=service, remedy=RETRY_HINT)

    async def _replace(self, service: str, instance: Instance) -> None:
        former = self.instances.get(service)
        self.instances[service] = instance
        if service == ENTRY_SERVICE:
            self.proxies[RIDERS].redirect(host_port(instance.public_url))
        if former:
            await asyncio.sleep(DRAIN_S)
            await former.stop.aclose()

    async def _start(self, service: str, release: Release) -> Instance:
        self.started += 1
        spec = instance_spec(self.specs[service], release, self.started)
        supervisor = Supervisor([spec])
        stop = AsyncExitStack()
        await stop.enter_async_context(supervisor.run())
        try:
            await supervisor.wait_until_ready(READY_TIMEOUT_S)
        except BaseException:
            await stop.aclose()
            raise
        public, internal = (f"http://{LOOPBACK}:{spec.env[name]}" for name in PORT_VARIABLES)
        return Instance(supervisor.processes[spec.name], release, public, internal, stop)


def instance_spec(spec: ProcessSpec, release: Release, number: int) -> ProcessSpec:
    """Return the process of an instance of a service, on ports of its own. ``number`` tells its log apart."""
    ports = allocate_ports(len(PORT_VARIABLES))
    args = (sys.executable, "-m", PROGRAM, spec.name, release.change) if release.change else spec.args
    return replace(
        spec,
        args=args,
        env={**spec.env, **release.settings, **dict(zip(PORT_VARIABLES, map(str, ports), strict=True))},
        ready_url=f"http://{LOOPBACK}:{ports[-1]}/readyz",
        log_file=spec.log_file and spec.log_file.with_name(f"{spec.name}-{number}.log"),
    )


def proxy_name(service: str) -> str:
    """Return the name of the proxy at the address of a service, by which its callers get its URL."""
    return f"http-{service}"


def _url(address: HostPort) -> str:
    host, port = address
    return f"http://{host}:{port}"
