from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.containers.composing import Compose, composed, engine_answers


@dataclass(frozen=True)
class Up:
    """A suite that was started with `docker compose up`, which has returned."""

    compose: Compose
    status: int
    output: str


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    if not engine_answers():
        pytest.skip("no Docker engine with Compose answers here; `docker compose ls` says why")
    with composed() as compose:
        compose.did("build", "--quiet")
        done = compose.run("up")
        why = compose.did("logs", "--tail", "20") if done.returncode else ""
        yield Up(compose, done.returncode, done.stdout + why)
