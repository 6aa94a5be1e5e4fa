"""The ground of an experiment: broker and database of its own, set up as for the suite, and nothing running on them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prebook.devstack.command_line import say
from prebook.devstack.errors import Trouble
from prebook.devstack.filesystem import folder
from prebook.devstack.providers import Mode, mode
from prebook.devstack.servers import Parts
from prebook.devstack.service_environment import Terms, specs
from prebook.devstack.setup import Access, set_up
from prebook.devstack.stack import parts as started
from prebook.flows import PROCESSES
from prebook.lab.experiments.exactly_once.experiment import Bench
from prebook.rabbit.management import BrokerRefused, BrokerUnreachable, Management
from prebook.topology.values import Topology

NOWHERE = (1024,) * (len(PROCESSES) + 1)
"""Ports: the settings name them, and nobody listens or calls."""
GIVEN = ("PREBOOK_DATABASE_URL", "PREBOOK_DATABASE_URL_FILE")


@dataclass(frozen=True)
class Grounded:
    """The parties of an experiment are services by name, with their roles and users."""

    parts: Parts
    bench: Bench

    async def declare(self, topology: Topology) -> None:
        """Beside what the suite needs. Raises Trouble."""
        broker = self.parts.broker
        try:
            async with Management(broker.management_url, broker.user, broker.password) as management:
                await management.declare(topology, {})
        except (BrokerUnreachable, BrokerRefused) as error:
            raise Trouble(str(error), "try again while the machine has less to do") from error


@asynccontextmanager
async def grounded() -> AsyncIterator[Grounded]:
    """Raises Trouble."""
    if mode() is Mode.EXTERNAL:
        raise Trouble("the lab does not crash processes on somebody's broker and database", "unset PREBOOK_STACK")
    async with started(say, {k: v for k, v in os.environ.items() if k not in GIVEN}) as parts:
        yield Grounded(parts, await _bench(parts))


def described(parts: Parts) -> dict[str, str]:
    broker, database = parts.broker, parts.database
    return {
        "mode": parts.mode,
        "broker": f"{broker.name} {broker.version}",
        "database": f"{database.name} {database.version}",
    }


async def _bench(parts: Parts) -> Bench:
    terms, place, broker = Terms(ports=NOWHERE), folder(parts.data_dir / "lab", None), parts.broker
    administrator = Access(
        database_url=parts.database.url,
        management_url=broker.management_url,
        management_user=broker.user,
        management_password=broker.password,
        passwords=terms.passwords,
    )
    await set_up(administrator, place, say)
    return Bench(parts.database.url, {spec.name: spec.env for spec in specs(terms, parts, place)}, place)
