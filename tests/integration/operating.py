"""What an operator does to a broker from its own machine."""

import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from prebook.devstack.broker import installation
from prebook.devstack.filesystem import unprivileged_user
from prebook.devstack.suite_state import SuiteState

WITHIN_S = 60.0


@dataclass(frozen=True)
class Shell:
    """How `rabbitmqctl` is reached: as whom, and in which environment; None: ours."""

    command: tuple[str, ...]
    env: dict[str, str] | None = None
    uid: int | None = None


def rabbitmqctl(where: SuiteState, *arguments: str) -> str:
    """Its output, from a private node or from the container that publishes the broker's port."""
    shell = _in_container(where) if where.broker_pid is None else _beside(where.broker_pid)
    done = subprocess.run(
        [*shell.command, *arguments],
        env=shell.env,
        user=shell.uid,
        extra_groups=None if shell.uid is None else [],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stdout} {done.stderr}"
    return done.stdout


def _beside(broker_pid: int) -> Shell:
    """With the node's own environment and account: its name, port mapper and cookie are nobody else's."""
    found, who = installation.find_rabbitmq(), unprivileged_user()
    assert found is not None, "a private node runs, so RabbitMQ is installed"
    program = str(found.server.with_name("rabbitmqctl"))
    return Shell((program,), psutil.Process(broker_pid).environ(), who.uid if who else None)


def _in_container(where: SuiteState) -> Shell:
    listed = ["docker", "ps", "--quiet", "--filter", f"publish={urlsplit(where.amqp_url).port}"]
    name = subprocess.run(listed, capture_output=True, text=True, timeout=WITHIN_S, check=True).stdout.strip()
    return Shell(("docker", "exec", name, "rabbitmqctl"))
