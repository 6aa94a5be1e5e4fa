"""A stand-in under a real supervisor."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prebook.devstack.ports import free_ports
from prebook.devstack.supervisor.contract import ProcessSpec
from prebook.devstack.supervisor.process import KeptProcess
from prebook.devstack.supervisor.supervisor import Supervisor

STANDIN = Path(__file__).with_name("standin.py")


def spec(tmp_path: Path, *arguments: str, name: str = "standin") -> ProcessSpec:
    (port,) = free_ports(1)
    return ProcessSpec(
        name=name,
        args=(sys.executable, str(STANDIN), str(port), *arguments),
        env=dict(os.environ),
        ready_url=f"http://127.0.0.1:{port}/readyz",
        log=tmp_path / f"{name}.log",
    )


@asynccontextmanager
async def kept(wanted: ProcessSpec) -> AsyncIterator[tuple[Supervisor, KeptProcess]]:
    supervisor = Supervisor([wanted])
    async with supervisor.running():
        await supervisor.ready(15)
        yield supervisor, supervisor.processes[wanted.name]


def pid_of(process: KeptProcess) -> int:
    pid = process.info().pid
    assert pid
    return pid
