"""Interpreters for baselines: the present one, or another whose packages would conflict with those of the suite."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.lab.bench.rounds import RoundFigures

INTERPRETERS_VARIABLE = "PREBOOK_BENCH_PYTHONS"
"""Environment variable with further interpreters, separated as in PATH."""
RUN_TIMEOUT_S = 120.0
SOURCE_ROOT = str(Path(__file__).parents[3])
"""Folder that makes ``prebook.lab`` importable."""


async def find_interpreter(package: str) -> str | None:
    """Return the first interpreter that can import ``package``, the present one first; None if there is none."""
    further = os.environ.get(INTERPRETERS_VARIABLE, "")
    for python in (sys.executable, *(path for path in further.split(os.pathsep) if path)):
        process = await asyncio.create_subprocess_exec(
            python, "-c", f"import {package}", stderr=asyncio.subprocess.DEVNULL
        )
        if await process.wait() == 0:
            return python
    return None


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the present environment with ``env``, and a PYTHONPATH on which any interpreter finds the baselines."""
    path = os.pathsep.join(part for part in (SOURCE_ROOT, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, **env}


async def measure_module(*args: str, env: Mapping[str, str], python: str = sys.executable) -> RoundFigures:
    """Run ``python -m args`` and return the figures on its last line of output, a JSON object of numbers.

    Raises:
        UserError: The module failed or took longer than RUN_TIMEOUT_S seconds.
    """
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
            stdout, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        raise UserError(
            f"{args[0]} did not finish within {RUN_TIMEOUT_S:g} s", "try again on an idle machine"
        ) from None
    if process.returncode:
        raise UserError(f"{args[0]} failed: {stderr.decode()[-400:]}", "see the error of its package")
    return msgspec.json.decode(stdout.splitlines()[-1], type=dict[str, float])
