"""Faults from the page: armed first, one at a time, and injected only if the command has found evidence."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from prebook.control_room.faults import ARMED_S, CommandResult, FaultDesk, RunState
from prebook.control_room.feed import Feed
from prebook.http.problems import Problem
from tests.conditions import wait_until

ENTRY = {"name": "kill_pricing", "kind": "kill", "target": "pricing", "expectation": "E.", "default_duration_s": 5.0}
CATALOGUE = [
    {**ENTRY, "unavailable_reason": "", "needs": ["control"]},
    {**ENTRY, "name": "leader_lost", "unavailable_reason": "one broker node"},
]
WINDOW = {
    "name": "kill_pricing",
    "started_at": "2026-11-30T10:00:00Z",
    "ended_at": "2026-11-30T10:00:03Z",
    "took_effect": True,
    "evidence": "process 1 was killed; process 2 took its place",
}
WITHOUT_EFFECT = {**WINDOW, "took_effect": False, "evidence": "no process has ended"}


class CommandStub:
    """`prebook fault`: answers the catalogue, and injections when told."""

    def __init__(self) -> None:
        self.commands: list[Sequence[str]] = []
        self.injection: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()

    async def __call__(self, arguments: Sequence[str]) -> CommandResult:
        self.commands.append(arguments)
        if arguments[1] == "list":
            return CommandResult(0, msgspec.json.encode(CATALOGUE), b"")
        return await self.injection


class ManualClock:
    """Seconds that pass when told."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def runs_of(feed: Feed) -> list[dict[str, Any]]:
    return list(feed._sections["faults"].values())


@pytest.mark.parametrize(
    ("result", "state", "evidence"),
    [
        (CommandResult(0, msgspec.json.encode(WINDOW), b""), RunState.UNDONE, WINDOW["evidence"]),
        (
            CommandResult(1, msgspec.json.encode({**WINDOW, "took_effect": False}), b""),
            RunState.NO_EFFECT,
            WINDOW["evidence"],
        ),
        (
            CommandResult(1, b"", b"error: no suite\nhint:  start one\n"),
            RunState.FAILED,
            "error: no suite hint: start one",
        ),
        (CommandResult(2, b"", b""), RunState.FAILED, "exit status 2"),
    ],
)
async def test_the_verdict_is_that_of_the_command(result: CommandResult, state: RunState, evidence: str) -> None:
    feed = Feed()
    command = CommandStub()
    desk = FaultDesk(feed, command)
    await desk.arm("kill_pricing")
    run = desk.inject("kill_pricing", 2.5)
    assert [each["state"] for each in runs_of(feed)] == ["ordered"]
    assert runs_of(feed)[0]["evidence"] == ""
    command.injection.set_result(result)
    await wait_until(lambda: runs_of(feed)[0]["state"] != "ordered")
    (ended,) = runs_of(feed)
    assert (ended["id"], ended["state"], ended["evidence"]) == (run.id, state.value, evidence)
    assert command.commands[-1] == ["fault", "inject", "kill_pricing", "--for", "2.5", "--json"]


async def test_a_fault_is_injected_only_while_it_is_armed_and_once() -> None:
    clock = ManualClock()
    command = CommandStub()
    desk = FaultDesk(Feed(), command, clock)
    with pytest.raises(Problem, match="arm kill_pricing first"):
        desk.inject("kill_pricing", None)
    await desk.arm("kill_pricing")
    clock.now_s += ARMED_S
    with pytest.raises(Problem, match="arm kill_pricing first"):
        desk.inject("kill_pricing", None)
    await desk.arm("kill_pricing")
    desk.inject("kill_pricing", None)
    with pytest.raises(Problem, match="arm kill_pricing first"):
        desk.inject("kill_pricing", None)
    await desk.arm("kill_pricing")
    with pytest.raises(Problem, match="another fault"):
        desk.inject("kill_pricing", None)
    await desk.close()


async def test_what_cannot_be_injected_cannot_be_armed() -> None:
    desk = FaultDesk(Feed(), CommandStub())
    with pytest.raises(Problem, match="one broker node") as unavailable:
        await desk.arm("leader_lost")
    with pytest.raises(Problem) as unknown:
        await desk.arm("meteor")
    assert (unavailable.value.status, unknown.value.status) == (409, 404)
