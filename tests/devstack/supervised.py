"""The stub program under a real supervisor."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prebook.devstack.ports import allocate_ports
from prebook.devstack.supervisor.contract import ProcessSpec
from prebook.devstack.supervisor.process import SupervisedProcess
from prebook.devstack.supervisor.supervisor import Supervisor

STUB_PROGRAM = Path(__file__).with_name("stub_program.py")


def stub_spec(tmp_path: Path, *arguments: str, name: str = "stub") -> ProcessSpec:
    """Return the specification of the stub program with ``arguments``, on its own port."""
    (port,) = allocate_ports(1)
    return ProcessSpec(
        name=name,
        args=(sys.executable, str(STUB_PROGRAM), str(port), *arguments),
        env=dict(os.environ),
        ready_url=f"http://127.0.0.1:{port}/readyz",
        log_file=tmp_path / f"{name}.log",
    )


@asynccontextmanager
async def supervise(spec: ProcessSpec) -> AsyncIterator[tuple[Supervisor, SupervisedProcess]]:
    """Run a process under a supervisor while the block runs; it is ready when the block starts."""
    supervisor = Supervisor([spec])
    async with supervisor.run():
        await supervisor.wait_until_ready(15)
        yield supervisor, supervisor.processes[spec.name]


def pid_of(process: SupervisedProcess) -> int:
    """Return the id of a process, which must be running."""
    pid = process.info().pid
    assert pid
    return pid
