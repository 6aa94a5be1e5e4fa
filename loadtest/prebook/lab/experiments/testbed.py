"""The ground of an experiment: broker and database of its own, set up as for the suite, and nothing running on them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prebook.devstack.command_line import log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import make_private_dir
from prebook.devstack.providers import StackMode, read_stack_mode
from prebook.devstack.servers import Stack
from prebook.devstack.service_environment import SuiteOptions, process_specs
from prebook.devstack.setup import AdminAccess, set_up
from prebook.devstack.stack import start_stack as started
from prebook.flows import PROCESSES
from prebook.lab.experiments.exactly_once.experiment import ExperimentContext
from prebook.rabbit.management import BrokerRefused, BrokerUnreachable, ManagementClient
from prebook.topology.values import Topology

UNUSED_PORTS = (1024,) * (len(PROCESSES) + 1)
"""Ports: the settings name them, and nobody listens or calls."""
IGNORED_VARIABLES = ("PREBOOK_DATABASE_URL", "PREBOOK_DATABASE_URL_FILE")


@dataclass(frozen=True)
class ExperimentTestbed:
    """The parties of an experiment are services by name, with their roles and users."""

    parts: Stack
    context: ExperimentContext

    async def declare(self, topology: Topology) -> None:
        """Beside what the suite needs. Raises Trouble."""
        broker = self.parts.broker
        try:
            async with ManagementClient(broker.management_url, broker.user, broker.password) as management:
                await management.declare(topology, {})
        except (BrokerUnreachable, BrokerRefused) as error:
            raise UserError(str(error), "try again while the machine has less to do") from error


@asynccontextmanager
async def start_testbed() -> AsyncIterator[ExperimentTestbed]:
    """Raises Trouble."""
    if read_stack_mode() is StackMode.EXTERNAL:
        raise UserError("the lab does not crash processes on somebody's broker and database", "unset PREBOOK_STACK")
    async with started(log_to_stderr, {k: v for k, v in os.environ.items() if k not in IGNORED_VARIABLES}) as parts:
        yield ExperimentTestbed(parts, await _set_up(parts))


def stack_versions(parts: Stack) -> dict[str, str]:
    broker, database = parts.broker, parts.database
    return {
        "mode": parts.mode,
        "broker": f"{broker.name} {broker.version}",
        "database": f"{database.name} {database.version}",
    }


async def _set_up(parts: Stack) -> ExperimentContext:
    terms, place, broker = (
        SuiteOptions(ports=UNUSED_PORTS),
        make_private_dir(parts.data_dir / "lab", None),
        parts.broker,
    )
    administrator = AdminAccess(
        database_url=parts.database.url,
        management_url=broker.management_url,
        management_user=broker.user,
        management_password=broker.password,
        passwords=terms.passwords,
    )
    await set_up(administrator, place, log_to_stderr)
    return ExperimentContext(
        parts.database.url, {spec.name: spec.env for spec in process_specs(terms, parts, place)}, place
    )
