"""Faults for the page: the command `prebook fault`, run by the console, so that both have one verdict.

A fault is armed first, and injected within ARMED_S seconds. It counts as injected only once the command has found its
evidence.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from secrets import token_hex
from subprocess import DEVNULL, PIPE
from typing import Annotated

import msgspec

from prebook.control_room.feed import Feed
from prebook.http.problems import Problem, found_or_404

ARMED_S = 30.0
MAX_RUNS = 20
"""Newest injections that the page shows."""
PREBOOK = (sys.executable, "-m", "prebook.cli")
DurationS = Annotated[float, msgspec.Meta(ge=0.1, le=300)]


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, as `prebook fault list --json` describes it."""

    name: str
    kind: str
    target: str
    expectation: str
    default_duration_s: float
    unavailable_reason: str
    """Reason why the fault cannot be injected here; empty if it can."""


class Injection(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a request to inject an armed fault; null: the duration of the catalogue."""

    duration_s: DurationS | None = None


class RunState(StrEnum):
    """State of an injection. ``ordered``: the command runs, and has shown no evidence yet."""

    ORDERED = "ordered"
    UNDONE = "undone"
    """The fault took effect, which the evidence shows, and is over."""
    NO_EFFECT = "no_effect"
    FAILED = "failed"
    """The command could not inject it."""


class FaultRun(msgspec.Struct, frozen=True, kw_only=True):
    """One injection; ``evidence`` is what the command found, or why it failed."""

    id: str
    name: str
    state: RunState
    ordered_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    evidence: str = ""


class _Window(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the output of `prebook fault inject --json` that is shown."""

    started_at: datetime
    ended_at: datetime
    took_effect: bool
    evidence: str


@dataclass(frozen=True)
class CommandResult:
    """Exit status and output of a command."""

    status: int
    stdout: bytes
    stderr: bytes


RunCommand = Callable[[Sequence[str]], Awaitable[CommandResult]]


def commands_with(environment: Mapping[str, str]) -> RunCommand:
    """Return a function that runs `prebook ARGUMENTS` to its end, with additional variables."""

    async def run_prebook(arguments: Sequence[str]) -> CommandResult:
        process = await asyncio.create_subprocess_exec(
            *PREBOOK, *arguments, env={**os.environ, **environment}, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        try:
            stdout, stderr = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()  # the command undoes its fault
            await process.wait()
            raise
        return CommandResult(process.returncode or 0, stdout, stderr)

    return run_prebook


class FaultDesk:
    """Arms and injects faults, one at a time, and publishes their runs."""

    def __init__(self, feed: Feed, run_command: RunCommand, clock: Callable[[], float] = time.monotonic) -> None:
        self._feed = feed
        self._run_command = run_command
        self._clock = clock
        self._armed_until: dict[str, float] = {}
        self._runs: dict[str, FaultRun] = {}
        self._task: asyncio.Task[None] | None = None

    async def read_catalogue(self) -> Sequence[CatalogueEntry]:
        """Return all faults. Raises Problem (503) if the command fails."""
        result = await self._run_command(["fault", "list", "--json"])
        if result.status:
            raise Problem(503, "catalogue_unreadable", _error_text(result))
        return msgspec.json.decode(result.stdout, type=list[CatalogueEntry])

    async def arm(self, name: str) -> None:
        """Allow the fault to be injected within ARMED_S seconds. Raises Problem (404, or 409 if it is unavailable)."""
        found = {entry.name: entry for entry in await self.read_catalogue()}.get(name)
        entry = found_or_404(found, "no_such_fault", "`prebook fault list` lists all faults")
        if entry.unavailable_reason:
            raise Problem(409, "fault_unavailable", f"{name} cannot be injected here: {entry.unavailable_reason}")
        self._armed_until[name] = self._clock() + ARMED_S

    def inject(self, name: str, duration_s: float | None) -> FaultRun:
        """Start the injection of an armed fault. Raises Problem (409) if it is not armed, or another one is running."""
        if self._armed_until.get(name, 0.0) <= self._clock():
            raise Problem(409, "fault_not_armed", f"arm {name} first; it stays armed for {ARMED_S:.0f} s")
        if self._task and not self._task.done():
            raise Problem(409, "fault_running", "another fault is being injected; wait until it is undone")
        del self._armed_until[name]
        run = FaultRun(id=token_hex(6), name=name, state=RunState.ORDERED, ordered_at=datetime.now(UTC))
        self._keep(run)
        self._task = asyncio.create_task(self._inject(run, duration_s))
        return run

    async def close(self) -> None:
        """End a running injection, which undoes its fault."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _inject(self, run: FaultRun, duration_s: float | None) -> None:
        duration = ["--for", f"{duration_s:g}"] if duration_s else []
        result = await self._run_command(["fault", "inject", run.name, *duration, "--json"])
        try:
            window = msgspec.json.decode(result.stdout, type=_Window)
        except msgspec.DecodeError:
            ended = msgspec.structs.replace(
                run, state=RunState.FAILED, ended_at=datetime.now(UTC), evidence=_error_text(result)
            )
        else:
            state = RunState.UNDONE if window.took_effect and result.status == 0 else RunState.NO_EFFECT
            ended = msgspec.structs.replace(
                run, state=state, started_at=window.started_at, ended_at=window.ended_at, evidence=window.evidence
            )
        self._keep(ended)

    def _keep(self, run: FaultRun) -> None:
        self._runs[run.id] = run
        while len(self._runs) > MAX_RUNS:
            del self._runs[next(iter(self._runs))]
        runs = {each.id: msgspec.to_builtins(each) for each in self._runs.values()}
        self._feed.publish({"faults": runs}, are_figures=False)


def _error_text(result: CommandResult) -> str:
    """Return what a failed command wrote, on one line."""
    return " ".join(result.stderr.decode(errors="replace").split())[:500] or f"exit status {result.status}"
