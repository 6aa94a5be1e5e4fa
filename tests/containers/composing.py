"""The suite as `docker compose` runs it, in a project of its own, on ports of its own."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
PORTS = ("PREBOOK_PORT", "PREBOOK_NOTIFICATION_PORT", "PREBOOK_MANAGEMENT_PORT")
WITHIN_S = 240.0


@dataclass(frozen=True)
class Compose:
    project: str
    env: Mapping[str, str]

    @property
    def booking(self) -> str:
        return f"http://127.0.0.1:{self.env['PREBOOK_PORT']}"

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """`docker compose ARGUMENTS`, with what it printed, in one text."""
        command = ["docker", "compose", "-p", self.project, "-f", str(FILE), *arguments]
        return run_command(command, {**self.env, **env})

    def did(self, *arguments: str, **env: str) -> str:
        """The output of one that must succeed."""
        done = self.run(*arguments, **env)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        return self.run("exec", "-T", service, *command)

    def container(self, service: str) -> Any:
        """What the engine knows about it."""
        identity = self.did("ps", "-aq", service).strip()
        return json.loads(run_command(["docker", "inspect", identity], self.env).stdout)[0]

    def containers(self) -> list[Any]:
        identities = self.did("ps", "-aq").split()
        return list(json.loads(run_command(["docker", "inspect", *identities], self.env).stdout))


def run_command(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, text=True, timeout=WITHIN_S, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def engine_answers() -> bool:
    try:
        return run_command(["docker", "compose", "ls"], os.environ).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def composed() -> Iterator[Compose]:
    """Nothing of the project is left afterwards, but for the image and its layers."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    compose = Compose(f"prebook-test-{os.getpid()}", {**os.environ, **ports, "PREBOOK_CAMPAIGN_OPTIONS": "--quick"})
    try:
        yield compose
    finally:
        compose.did("down", "-v", "--remove-orphans")


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
