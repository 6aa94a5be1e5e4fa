"""A whole suite on this machine: parts, set-up, services and their supervisor, and all of it gone at the end."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack.errors import Trouble
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.proxies.proxy import opened
from prebook.devstack.servers import Parts, Say
from prebook.devstack.service_environment import Terms, archive_url, specs, targets
from prebook.devstack.setup import Access, set_up
from prebook.devstack.stack import parts as started
from prebook.devstack.suite_state import Whereabouts, claimed, left_in
from prebook.devstack.supervisor.control_api import application, listening
from prebook.devstack.supervisor.server import KeptPart, kept
from prebook.devstack.supervisor.supervisor import Supervisor

READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Suite:
    """A running one."""

    whereabouts: Whereabouts
    supervisor: Supervisor
    parts: Mapping[str, KeptPart]
    """Those that are processes of ours."""

    async def broken(self) -> Trouble:
        """Returns when the suite cannot go on: a part is gone, or a service was given up."""
        while True:
            if trouble := self._trouble():
                return trouble
            await asyncio.sleep(LOOK_EVERY_S)

    def _trouble(self) -> Trouble | None:
        for part in self.parts.values():
            if trouble := part.trouble():
                return trouble
        if given_up := self.supervisor.given_up():
            return Trouble(f"{given_up.spec.name} ended: {given_up.last_words}", f"read {given_up.spec.log}")
        return None


@asynccontextmanager
async def launched(home: Path, terms: Terms, say: Say) -> AsyncIterator[Suite]:
    """Every service is ready. Raises Trouble; leaves no process and no stack.json behind."""
    logs = home / "logs"
    with claimed(home):
        async with started(say, broker_nodes=terms.broker_nodes) as parts, kept(parts) as ours:
            await set_up(_access(parts, terms), logs, say)
            async with opened(targets(terms, parts)) as ways:
                supervisor = Supervisor(specs(terms, parts, logs, ways))
                control = application(supervisor, terms.control_token, ours, ways)
                say("services: starting")
                async with supervisor.running(), listening(control, LOOPBACK, terms.control_port):
                    await supervisor.ready(READY_WITHIN_S)
                    whereabouts = _whereabouts(parts, terms, logs)
                    with left_in(home, whereabouts):
                        yield Suite(whereabouts, supervisor, ours)
                    say("stopping")


def _access(parts: Parts, terms: Terms) -> Access:
    return Access(
        database_url=parts.database.url,
        management_url=parts.broker.management_url,
        management_user=parts.broker.user,
        management_password=parts.broker.password,
        passwords=terms.passwords,
    )


def _whereabouts(parts: Parts, terms: Terms, logs: Path) -> Whereabouts:
    broker, database = parts.broker, parts.database
    return Whereabouts(
        owner_pid=os.getpid(),
        mode=parts.mode,
        broker=f"{broker.name} {broker.version}",
        database=f"{database.name} {database.version}",
        urls=terms.urls,
        control_url=f"http://{LOOPBACK}:{terms.control_port}",
        control_token=terms.control_token,
        management_url=broker.management_url,
        management_user=broker.user,
        management_password=broker.password,
        amqp_url=broker.amqp_url,
        archive_url=archive_url(terms, parts),
        database_url=database.url,
        callback_secrets=(terms.callback_secret,),
        broker_pid=broker.pid,
        database_pid=database.pid,
        data_dir=str(parts.data_dir),
        logs=str(logs),
    )
