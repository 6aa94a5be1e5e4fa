"""Mutation controls: the test that is named with a seeded defect fails if the defect is present."""

import asyncio
from inspect import signature
from typing import Any

import pytest

from prebook.postgres.engine import create_engine
from tests.integration.broker_probe import BrokerProbe
from tests.operations.examples import Begin
from tests.operations.receivers import Receivers
from tests.traps.defects import BROKER, DATABASE, DEFECTS, WITHOUT_SERVERS, Defect
from tests.traps.trap_queue import TrapQueue

MIN_DEFECTS = 12
HANG_TIMEOUT_S = 1.0
TIMEOUT_S = 30.0


def defect_id(defect: Defect) -> str:
    return f"{defect.name} | {defect.caught_by.__name__}"


async def assert_caught(defect: Defect, patch: pytest.MonkeyPatch, **fixtures: Any) -> None:
    """Seed a defect and run its test, which must fail by an assertion, or not end if the defect makes it hang."""
    arguments = {**fixtures, "monkeypatch": patch, **defect.arguments}
    defect.seed(patch)
    timeout_s = HANG_TIMEOUT_S if defect.hangs else TIMEOUT_S
    check = defect.caught_by(**{name: arguments[name] for name in signature(defect.caught_by).parameters})
    task = asyncio.create_task(check)
    done, _ = await asyncio.wait({task}, timeout=timeout_s)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if done:
        assert isinstance(result, AssertionError | pytest.fail.Exception | asyncio.CancelledError), (
            f"the test ended with {result!r}"
        )
    else:
        assert defect.hangs, f"the test did not end within {timeout_s} s"


@pytest.mark.parametrize("defect", WITHOUT_SERVERS, ids=defect_id)
async def test_a_defect_is_caught_without_servers(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(defect, monkeypatch)


@pytest.mark.parametrize("defect", DATABASE, ids=defect_id)
async def test_a_defect_is_caught_with_a_database(
    defect: Defect, monkeypatch: pytest.MonkeyPatch, begin: Begin, operations_url: str, receivers: Receivers
) -> None:
    # Tests with their own database get this one, which has the schema of operations.
    monkeypatch.setattr("tests.postgres.test_relays.create_engine", lambda _, url: create_engine("operations", url))
    engine = create_engine("operations", operations_url)
    await assert_caught(defect, monkeypatch, begin=begin, engine=engine, url=operations_url, receivers=receivers)
    await engine.dispose()


@pytest.mark.real
@pytest.mark.parametrize("defect", BROKER, ids=defect_id)
async def test_a_defect_is_caught_with_a_broker(
    defect: Defect, monkeypatch: pytest.MonkeyPatch, trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    await assert_caught(defect, monkeypatch, trap_queue=trap_queue, broker=broker)


def test_the_defects_are_distinct_and_numerous() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= MIN_DEFECTS
    assert all(defect.caught_by.__name__.startswith("test_") for defect in DEFECTS)
