"""A stand-in under a real supervisor."""

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


def spec(tmp_path: Path, *arguments: str, name: str = "stub") -> ProcessSpec:
    (port,) = allocate_ports(1)
    return ProcessSpec(
        name=name,
        args=(sys.executable, str(STUB_PROGRAM), str(port), *arguments),
        env=dict(os.environ),
        ready_url=f"http://127.0.0.1:{port}/readyz",
        log_file=tmp_path / f"{name}.log",
    )


@asynccontextmanager
async def kept(wanted: ProcessSpec) -> AsyncIterator[tuple[Supervisor, SupervisedProcess]]:
    supervisor = Supervisor([wanted])
    async with supervisor.run():
        await supervisor.wait_until_ready(15)
        yield supervisor, supervisor.processes[wanted.name]


def pid_of(process: SupervisedProcess) -> int:
    pid = process.info().pid
    assert pid
    return pid
