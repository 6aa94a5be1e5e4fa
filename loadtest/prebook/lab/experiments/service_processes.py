"""Services of the suite, run as processes on the testbed's broker and database.

An experiment that needs a few services starts only those, within seconds: a suite of its own would start a broker, a
database and six services.
"""

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

import aiohttp

from prebook.devstack.polling import wait_until
from prebook.devstack.service_environment import process_specs
from prebook.devstack.supervisor.contract import ProcessState
from prebook.devstack.supervisor.supervisor import Supervisor
from prebook.flows import CONSOLE
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentTestbed
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.suite_client.settings import SuiteAddresses
from prebook.runtime import paths

READY_TIMEOUT_S = 120.0
BACKOFF = re.compile(r"^backoff_s = \[([\d.]+).*\]$", re.MULTILINE)
NO_SETTINGS: Mapping[str, str] = {}


@dataclass(frozen=True)
class ServiceProcesses:
    """Running services of a testbed. ``access``: their addresses, and the credentials of the console."""

    access: FaultAccess
    supervisor: Supervisor

    @classmethod
    @asynccontextmanager
    async def run(
        cls, testbed: ExperimentTestbed, services: Collection[str], settings: Mapping[str, str] = NO_SETTINGS
    ) -> AsyncIterator[Self]:
        """Run ``services`` while the block runs, which starts once all are ready.

        ``settings``: PREBOOK_* variables of these processes. A process that ends is started again.

        Raises:
            UserError: A service did not become ready.
        """
        options = replace(testbed.options, settings=settings)
        specs = process_specs(options, testbed.stack, testbed.context.work_dir)
        supervisor = Supervisor(spec for spec in specs if spec.name in services)
        addresses = SuiteAddresses(
            public=options.urls,
            internal=options.internal_urls,
            console_secrets=tuple(options.keys.signing[CONSOLE]),
            operator_token=options.keys.console_tokens[0],
        )
        async with supervisor.run(), aiohttp.ClientSession() as session:
            await supervisor.wait_until_ready(READY_TIMEOUT_S)
            yield cls(FaultAccess(session, addresses, {}, {}), supervisor)

    async def kill(self, service: str) -> None:
        """Kill a running service with SIGKILL; it is started again at once. Raises NotRunning."""
        await self.supervisor.processes[service].kill(0.0)

    async def wait_until_ready(self, service: str) -> None:
        """Wait until a service that was killed is ready again. Raises UserError."""
        process = self.supervisor.processes[service]

        async def is_ready() -> bool:
            return process.state is ProcessState.RUNNING

        await wait_until(is_ready, READY_TIMEOUT_S, subject=service, remedy=RETRY_HINT)


def shorten_retries(testbed: ExperimentTestbed) -> dict[str, str]:
    """Return settings by which all retries come after the shortest delay of their flow, which the broker has.

    The number of attempts is that of the suite, and a message is parked after a second instead of 17.
    """
    file = testbed.context.work_dir / "couplings.toml"
    file.write_text(BACKOFF.sub(r"backoff_s = [\1]", paths.couplings_file().read_text()))
    return {"PREBOOK_COUPLINGS": str(file)}
