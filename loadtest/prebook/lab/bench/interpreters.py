"""Interpreters that can import a baseline's package: ours, or another one where its dependencies conflict with ours."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.lab.bench.rounds import RoundFigures

INTERPRETERS_VARIABLE = "PREBOOK_BENCH_PYTHONS"
"""Interpreters, separated as in PATH."""
RUN_TIMEOUT_S = 120.0
SOURCE_ROOT = str(Path(__file__).parents[3])


async def find_interpreter(package: str) -> str | None:
    given = os.environ.get(INTERPRETERS_VARIABLE, "")
    for python in (sys.executable, *(path for path in given.split(os.pathsep) if path)):
        process = await asyncio.create_subprocess_exec(
            python, "-c", f"import {package}", stderr=asyncio.subprocess.DEVNULL
        )
        if await process.wait() == 0:
            return python
    return None


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Whichever interpreter it is, it finds the baselines."""
    path = os.pathsep.join(part for part in (SOURCE_ROOT, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, **env}


async def measure_module(*args: str, env: Mapping[str, str], python: str = sys.executable) -> RoundFigures:
    """What ``python -m args`` prints as the last line of its output, in JSON: name -> number. Raises UserError."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        *args,
        env=environment(env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            said, complained = await process.communicate()
    except TimeoutError:
        process.kill()
        raise UserError(
            f"{args[0]} was not done within {RUN_TIMEOUT_S:g} s", "try again with nothing else running"
        ) from None
    if process.returncode:
        raise UserError(f"{args[0]} failed: {complained.decode()[-400:]}", "see the error of its package")
    return msgspec.json.decode(said.splitlines()[-1], type=dict[str, float])
