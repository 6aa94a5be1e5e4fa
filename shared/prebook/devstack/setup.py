"""What must be there before the services: schemas and roles in the database, and the broker's topology."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prebook.devstack.child_process import Command, run
from prebook.devstack.errors import Trouble
from prebook.devstack.filesystem import folder
from prebook.devstack.servers import Say
from prebook.messaging.policy import BadPolicies, backoffs, read_policies
from prebook.rabbit.management import BrokerRefused, BrokerUnreachable, Management
from prebook.runtime import paths
from prebook.topology.model import suite_topology

MIGRATED_WITHIN_S, DECLARED_WITHIN_S = 120.0, 120.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Access:
    """Administrators' access to both parts, and the password that each service is to get for both."""

    database_url: str
    management_url: str
    management_user: str
    management_password: str
    passwords: Mapping[str, str] = field(default_factory=dict)


async def set_up(access: Access, logs: Path, say: Say) -> None:
    """Does nothing twice: what is there stays. Raises Trouble."""
    say("schemas, roles and broker topology: setting up")
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_migrate(access, logs / "migrations.log"))
            both.create_task(_declare(access))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None


async def _migrate(access: Access, log: Path) -> None:
    settings = {
        "PREBOOK_DATABASE_URL": access.database_url,
        "PREBOOK_ROLE_PASSWORDS": json.dumps(dict(access.passwords)),
    }
    inherited = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in settings}
    folder(log.parent, None)
    ini = paths.migrations() / "alembic.ini"
    command = Command(
        args=(sys.executable, "-m", "alembic", "-c", ini, "upgrade", "heads"), env=inherited | settings, log=log
    )
    remedy = f"read {log}; the user of PREBOOK_DATABASE_URL must be allowed to create schemas and roles"
    try:
        status = await run(command, MIGRATED_WITHIN_S)
    except TimeoutError:
        raise Trouble(f"the migrations were not done within {MIGRATED_WITHIN_S:g} s", remedy) from None
    if status:
        raise Trouble(f"the migrations ended with status {status}: {command.last_words()}", remedy)


async def _declare(access: Access) -> None:
    remedy = "look at PREBOOK_MANAGEMENT_URL and the administrator's name and password; `prebook doctor` checks them"
    try:
        topology = suite_topology(backoffs(read_policies(paths.couplings_toml())))
        async with (
            asyncio.timeout(DECLARED_WITHIN_S),
            Management(access.management_url, access.management_user, access.management_password) as broker,
        ):
            await broker.declare(topology, access.passwords)
    except (BrokerUnreachable, BrokerRefused, TimeoutError) as error:
        raise Trouble(f"the broker's topology could not be declared: {error or 'no answer in time'}", remedy) from error
    except BadPolicies as error:
        raise Trouble(str(error), f"correct {paths.couplings_toml()}") from error
