"""The suite as `docker compose` runs it, with its own project name and ports."""

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
COMPOSE_FILE = ROOT / "docker-compose.yml"
PORTS = ("PREBOOK_PORT", "PREBOOK_OPERATIONS_PORT", "PREBOOK_MANAGEMENT_PORT", "PREBOOK_PAGE_PORT")
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class ComposeProject:
    """A project of `docker compose`; ``env`` has the ports on which it publishes."""

    project: str
    env: Mapping[str, str]

    @property
    def booking_url(self) -> str:
        return f"http://127.0.0.1:{self.env['PREBOOK_PORT']}"

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.env['PREBOOK_PAGE_PORT']}"

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` with ``arguments``; stdout of the result has both output streams."""
        command = ["docker", "compose", "-p", self.project, "-f", str(COMPOSE_FILE), *arguments]
        return run_command(command, {**self.env, **env})

    def run_checked(self, *arguments: str, **env: str) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.run(*arguments, **env)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def run_in(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container of a service."""
        return self.run("exec", "-T", service, *command)

    def inspect(self, service: str) -> Any:
        """Return the details of a service's container, as `docker inspect` prints them."""
        container_id = self.run_checked("ps", "-aq", service).strip()
        return json.loads(run_command(["docker", "inspect", container_id], self.env).stdout)[0]

    def inspect_all(self) -> list[Any]:
        """Return the details of all containers of the project."""
        container_ids = self.run_checked("ps", "-aq").split()
        return list(json.loads(run_command(["docker", "inspect", *container_ids], self.env).stdout))


def run_command(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, text=True, timeout=TIMEOUT_S, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def is_engine_available() -> bool:
    """Return whether a Docker engine with Compose responds."""
    try:
        return run_command(["docker", "compose", "ls"], os.environ).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def open_project() -> Iterator[ComposeProject]:
    """Open a project, and remove everything of it at the end except the image."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    project = ComposeProject(
        f"prebook-test-{os.getpid()}", {**os.environ, **ports, "PREBOOK_CAMPAIGN_OPTIONS": "--quick"}
    )
    try:
        yield project
    finally:
        project.run_checked("down", "-v", "--remove-orphans")


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
