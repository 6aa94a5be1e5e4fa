"""A suite that `docker compose up` has started."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.containers.compose_project import ComposeProject, is_engine_available, open_project


@dataclass(frozen=True)
class ComposeRun:
    """A suite after `docker compose up` has returned, with the exit status and output of that command."""

    project: ComposeProject
    status: int
    output: str


@pytest.fixture(scope="module")
def up() -> Iterator[ComposeRun]:
    if not is_engine_available():
        pytest.skip("no Docker engine with Compose is available; `docker compose ls` shows the reason")
    with open_project() as project:
        project.run_checked("build", "--quiet")
        done = project.run("up")
        logs = project.run_checked("logs", "--tail", "20") if done.returncode else ""
        yield ComposeRun(project, done.returncode, done.stdout + logs)
