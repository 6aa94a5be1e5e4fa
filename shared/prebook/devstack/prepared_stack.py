"""A broker and a database set up as for the suite, with no service running on them."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack.filesystem import make_private_dir
from prebook.devstack.servers import Log
from prebook.devstack.service_environment import SuiteOptions, process_specs, write_secrets
from prebook.devstack.setup import admin_access, set_up
from prebook.devstack.stack import Stack, start_stack

IGNORED_VARIABLES = frozenset({"PREBOOK_DATABASE_URL", "PREBOOK_DATABASE_URL_FILE"})
"""Ignored variables: with PREBOOK_STACK=auto they would select a database that the suite does not own."""


@dataclass(frozen=True)
class PreparedStack:
    """A stack prepared for use. ``directory`` is for files of its user and is removed with the stack."""

    stack: Stack
    service_environments: Mapping[str, Mapping[str, str]]
    """Service -> environment of its process, with its own database role and broker user."""
    directory: Path


@asynccontextmanager
async def prepare_stack(log: Log, options: SuiteOptions, directory_name: str) -> AsyncIterator[PreparedStack]:
    """Start broker and database, and create schemas, roles and topology. Raises UserError.

    The environments name the ports of ``options``, which the caller must keep free for the services that it starts.
    """
    env = {name: value for name, value in os.environ.items() if name not in IGNORED_VARIABLES}
    async with start_stack(log, env) as stack:
        directory = make_private_dir(stack.data_dir / directory_name, None)
        await set_up(admin_access(stack, options.passwords), directory, log)
        write_secrets(options, stack)
        environments = {spec.name: spec.env for spec in process_specs(options, stack, directory)}
        yield PreparedStack(stack, environments, directory)
