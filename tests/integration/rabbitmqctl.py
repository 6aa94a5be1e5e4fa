"""`rabbitmqctl` against the suite's broker: a private node, or a container that publishes its port."""

import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from prebook.devstack.broker import installation
from prebook.devstack.filesystem import unprivileged_user
from prebook.devstack.suite_state import SuiteState

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Command:
    """Command line of `rabbitmqctl`, its environment and its user id; None: those of this process."""

    arguments: tuple[str, ...]
    env: dict[str, str] | None = None
    uid: int | None = None


def run_rabbitmqctl(state: SuiteState, *arguments: str) -> str:
    """Run `rabbitmqctl` and return its output. Raises AssertionError if it exits with another status than 0."""
    command = _container_command(state) if state.broker_pid is None else _node_command(state.broker_pid)
    done = subprocess.run(
        [*command.arguments, *arguments],
        env=command.env,
        user=command.uid,
        extra_groups=None if command.uid is None else [],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stdout} {done.stderr}"
    return done.stdout


def _node_command(broker_pid: int) -> Command:
    """Use the environment and the account of the node, because name, port mapper and cookie are its own."""
    found = installation.find_rabbitmq()
    user = unprivileged_user()
    assert found is not None, "a private node is running, so RabbitMQ is installed"
    program = str(found.server.with_name("rabbitmqctl"))
    return Command((program,), psutil.Process(broker_pid).environ(), user.uid if user else None)


def _container_command(state: SuiteState) -> Command:
    listed = ["docker", "ps", "--quiet", "--filter", f"publish={urlsplit(state.amqp_url).port}"]
    name = subprocess.run(listed, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout.strip()
    return Command(("docker", "exec", name, "rabbitmqctl"))
