"""Mutation controls: every seeded defect is caught by the test that is named beside it."""

import asyncio
from inspect import signature
from typing import Any

import pytest

from prebook.postgres.engine import create_engine
from tests.integration.broker_probe import BrokerProbe
from tests.operations.examples import Begin
from tests.operations.receivers import Receivers
from tests.traps.defects import BROKER, DATABASE, DEFECTS, NO_PARTS, Defect
from tests.traps.place import Place

FEWEST = 12
HANGS_S, ENDS_WITHIN_S = 1.0, 30.0


def named(defect: Defect) -> str:
    return f"{defect.name} | {defect.caught_by.__name__}"


async def caught(defect: Defect, patch: pytest.MonkeyPatch, **fixtures: Any) -> None:
    """The check fails, by what it asserts; or it does not end, where that is how the defect shows."""
    given = {**fixtures, "monkeypatch": patch, **defect.given}
    defect.seed(patch)
    patience_s = HANGS_S if defect.hangs else ENDS_WITHIN_S
    check = defect.caught_by(**{name: given[name] for name in signature(defect.caught_by).parameters})
    task = asyncio.create_task(check)
    done, _ = await asyncio.wait({task}, timeout=patience_s)
    task.cancel()
    (end,) = await asyncio.gather(task, return_exceptions=True)
    if done:
        assert isinstance(end, AssertionError | pytest.fail.Exception | asyncio.CancelledError), f"it ended in {end!r}"
    else:
        assert defect.hangs, f"not over within {patience_s} s"


@pytest.mark.parametrize("defect", NO_PARTS, ids=named)
async def test_a_defect_is_caught_without_parts(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
    await caught(defect, monkeypatch)


@pytest.mark.parametrize("defect", DATABASE, ids=named)
async def test_a_defect_is_caught_on_a_database(
    defect: Defect, monkeypatch: pytest.MonkeyPatch, begin: Begin, operations_url: str, receivers: Receivers
) -> None:
    # Checks that bring a database of their own are given this one, whose schema is operations'.
    monkeypatch.setattr("tests.postgres.test_relays.create_engine", lambda _, url: create_engine("operations", url))
    engine = create_engine("operations", operations_url)
    await caught(defect, monkeypatch, begin=begin, engine=engine, url=operations_url, receivers=receivers)
    await engine.dispose()


@pytest.mark.real
@pytest.mark.parametrize("defect", BROKER, ids=named)
async def test_a_defect_is_caught_at_a_broker(
    defect: Defect, monkeypatch: pytest.MonkeyPatch, place: Place, broker: BrokerProbe
) -> None:
    await caught(defect, monkeypatch, place=place, broker=broker)


def test_there_are_enough_and_no_two_are_alike() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= FEWEST
    assert all(defect.caught_by.__name__.startswith("test_") for defect in DEFECTS)
