"""A part as a container: published on the loopback interface only, removed when we end."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prebook.runtime.stack.account import private_file
from prebook.runtime.stack.child import Child, Command, spawn
from prebook.runtime.stack.ports import LOOPBACK
from prebook.runtime.stack.waiting import until

ENGINE_WITHIN_S, UP_WITHIN_S, STOP_WITHIN_S, REMOVE_WITHIN_S = 10.0, 300.0, 10.0, 20.0
REMEDY = "start Docker (`docker info` must answer), or set PREBOOK_STACK=local or external"


@dataclass(frozen=True)
class Image:
    """What to run: ``secrets`` are environment variables, handed over in a file that only we can read."""

    part: str
    image: str
    ports: Sequence[int]
    secrets: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()


async def engine_answers() -> bool:
    """Whether a Docker engine can be reached from here."""
    if not shutil.which("docker"):
        return False
    status, _ = await _docker("info", "--format", "{{.ServerVersion}}")
    return status == 0


class Container:
    """`docker run` in the foreground: the engine removes the container when the command ends, however it ends."""

    def __init__(self, image: Image, data: Path) -> None:
        self._image, self._data = image, data
        self.name = f"prebook-{image.part}-{secrets.token_hex(4)}"
        self.child: Child | None = None

    async def start(self) -> dict[int, int]:
        """The host's port for each port of the image. Raises Trouble."""
        lines = [f"{name}={value}\n" for name, value in self._image.secrets.items()]
        settings = private_file(self._data / f"{self.name}.env", "".join(lines))
        published = [part for port in self._image.ports for part in ("--publish", f"{LOOPBACK}::{port}")]
        arguments = (
            "--name",
            self.name,
            "--label",
            f"prebook.owner={os.getpid()}",
            "--env-file",
            str(settings),
            *published,
        )
        command = Command(
            args=("docker", "run", "--rm", *arguments, self._image.image, *self._image.arguments),
            env=os.environ,
            log=self._data / f"{self.name}.log",
        )
        self.child = await spawn(command)
        mapped: dict[int, int] = {}

        async def is_up() -> bool:
            mapped.update(await self._mapped())
            return len(mapped) == len(self._image.ports)

        what = f"the container of {self._image.image}"
        await until(is_up, UP_WITHIN_S, what=what, remedy=REMEDY, child=self.child)
        settings.unlink()
        return mapped

    async def stop(self) -> None:
        if self.child:
            await _docker("rm", "--force", "--volumes", self.name, within_s=REMOVE_WITHIN_S)
            await self.child.stop(STOP_WITHIN_S)

    async def _mapped(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for port in self._image.ports:
            status, answer = await _docker("port", self.name, str(port))
            if status == 0 and answer:
                found[port] = int(answer.splitlines()[0].rpartition(":")[2])
        return found


async def _docker(*arguments: str, within_s: float = ENGINE_WITHIN_S) -> tuple[int, str]:
    """Exit status and output of a docker command that does not stay."""
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 1, ""
    return process.returncode or 0, output.decode().strip()
