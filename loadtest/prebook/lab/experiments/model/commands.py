"""Commands of `prebook` and checkouts, as the experiments on the model use them."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from prebook.lab.experiments.experiment import Prerequisite, Size

CHECKOUT = Path(__file__).parents[5]


class ModelSize(Size, frozen=True, kw_only=True):
    """Size of an experiment on the model: there is one model, so there is nothing to choose."""


@dataclass(frozen=True)
class CommandResult:
    """Exit status and output of a command."""

    status: int
    stdout: str
    stderr: str


async def run_prebook(*arguments: str) -> CommandResult:
    """Run a command of `prebook` as a process of its own."""
    return await run_python("-m", "prebook.cli", *arguments)


async def run_python(*arguments: str, folder: Path | None = None) -> CommandResult:
    """Run this interpreter with ``arguments``, in ``folder`` or the present one."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=folder, stdout=pipe, stderr=pipe)
    stdout, stderr = await process.communicate()
    return CommandResult(process.returncode or 0, stdout.decode(), stderr.decode())


def _missing_checkout(_: object) -> str:
    return "" if (CHECKOUT / "docs" / "pictures").is_dir() else "this is no checkout of the project"


COMMITTED_FILES = Prerequisite("the files that are committed", _missing_checkout)
