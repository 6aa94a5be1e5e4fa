"""Where a peer's package can be imported: here, or by another interpreter, for peers that do not get along with us."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.devstack.errors import Trouble
from prebook.lab.bench.rounds import Figures

VARIABLE = "PREBOOK_BENCH_PYTHONS"
"""Interpreters, separated as in PATH."""
ASKED_WITHIN_S = 120.0
HERE = str(Path(__file__).parents[2])


async def interpreter_with(package: str) -> str | None:
    given = os.environ.get(VARIABLE, "")
    for python in (sys.executable, *(path for path in given.split(os.pathsep) if path)):
        process = await asyncio.create_subprocess_exec(
            python, "-c", f"import {package}", stderr=asyncio.subprocess.DEVNULL
        )
        if await process.wait() == 0:
            return python
    return None


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Whichever interpreter it is, it finds the yardsticks."""
    path = os.pathsep.join(part for part in (HERE, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, **env}


async def figures(*args: str, env: Mapping[str, str], python: str = sys.executable) -> Figures:
    """What ``python -m args`` prints as the last line of its output, in JSON: name -> number. Raises Trouble."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        *args,
        env=environment(env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(ASKED_WITHIN_S):
            said, complained = await process.communicate()
    except TimeoutError:
        process.kill()
        raise Trouble(
            f"{args[0]} was not done within {ASKED_WITHIN_S:g} s", "try again with nothing else running"
        ) from None
    if process.returncode:
        raise Trouble(f"{args[0]} failed: {complained.decode()[-400:]}", "see the error of its package")
    return msgspec.json.decode(said.splitlines()[-1], type=dict[str, float])
