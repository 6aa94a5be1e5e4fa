"""Setup of database and broker for the services: schemas, roles, topology and users."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prebook.asyncio_tools import first_error_task_group
from prebook.devstack.child_process import Command, run
from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import make_private_dir
from prebook.devstack.servers import Log
from prebook.devstack.stack import Stack
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import read_policies, retry_delays_s
from prebook.postgres.engine import CONNECTIONS_PER_PROCESS
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.runtime import paths
from prebook.topology.archive import read_archive_retention
from prebook.topology.model import suite_topology
from prebook.topology.ride_subscriptions import read_ride_subscriptions

MIGRATION_TIMEOUT_S = 120.0
DECLARE_TIMEOUT_S = 120.0
ROLE_CONNECTIONS = 4 * CONNECTIONS_PER_PROCESS
"""For four replicas of a service, or for one whose former processes have not been noticed to be gone: a quarter of the
server's connections, so that no service can keep the others from connecting."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DatabaseAdminAccess:
    """Administrators' access to the database, and the password of each service's role."""

    url: str
    passwords: Mapping[str, str] = field(default_factory=dict)
    role_connections: int = ROLE_CONNECTIONS
    """Maximum number of database connections of each service's role."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AdminAccess:
    """Administrators' access to broker and database. Roles and broker users of a service share their password."""

    database: DatabaseAdminAccess
    management_url: str
    management_user: str
    management_password: str


def admin_access(stack: Stack, passwords: Mapping[str, str]) -> AdminAccess:
    """Return administrators' access to the servers of a stack. ``passwords``: password by service."""
    return AdminAccess(
        database=DatabaseAdminAccess(url=stack.database.url, passwords=passwords),
        management_url=stack.broker.management_url,
        management_user=stack.broker.user,
        management_password=stack.broker.password,
    )


async def set_up(access: AdminAccess, log_dir: Path, log: Log) -> None:
    """Create missing schemas, roles, users and topology; idempotent. Raises UserError."""
    log("schemas, roles and broker topology: setting up")
    async with first_error_task_group() as both:
        both.create_task(migrate(access.database, log_dir))
        both.create_task(_declare(access))


async def migrate(database: DatabaseAdminAccess, log_dir: Path) -> None:
    """Create missing schemas and roles, and bring them up to date; idempotent. Raises UserError."""
    log_file = log_dir / "migrations.log"
    settings = {
        "PREBOOK_DATABASE_URL": database.url,
        "PREBOOK_ROLE_PASSWORDS": json.dumps(dict(database.passwords)),
        "PREBOOK_ROLE_CONNECTIONS": str(database.role_connections),
    }
    inherited = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in settings}
    make_private_dir(log_file.parent, None)
    ini = paths.migrations_dir() / "alembic.ini"
    command = Command(
        args=(sys.executable, "-m", "alembic", "-c", ini, "upgrade", "heads"),
        env=inherited | settings,
        log_file=log_file,
    )
    remedy = f"read {log_file}; the user of PREBOOK_DATABASE_URL must be allowed to create schemas and roles"
    try:
        status = await run(command, MIGRATION_TIMEOUT_S)
    except TimeoutError:
        raise UserError(f"the migrations did not finish within {MIGRATION_TIMEOUT_S:g} s", remedy) from None
    if status:
        raise UserError(f"the migrations ended with status {status}: {command.log_tail()}", remedy)


async def _declare(access: AdminAccess) -> None:
    remedy = "correct PREBOOK_MANAGEMENT_URL, or the administrator's name and password; `prebook doctor` checks them"
    try:
        couplings = paths.couplings_file()
        subscriptions = read_ride_subscriptions(couplings)
        topology = suite_topology(
            retry_delays_s(read_policies(couplings)),
            subscriptions=subscriptions,
            archive=read_archive_retention(couplings),
        )
        async with (
            asyncio.timeout(DECLARE_TIMEOUT_S),
            ManagementClient(access.management_url, access.management_user, access.management_password) as broker,
        ):
            await broker.declare(topology, access.database.passwords)
    except (BrokerUnreachable, BrokerRefused, TimeoutError) as error:
        raise UserError(
            f"the broker's topology could not be declared: {error or 'no answer in time'}", remedy
        ) from error
    except InvalidPolicies as error:
        raise UserError(str(error), f"correct {paths.couplings_file()}") from error
