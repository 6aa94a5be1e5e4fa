"""Process that runs a pipe on a queue, stage by stage in parallel or all stages in one thread."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from prebook.asyncio_tools import first_error_task_group
from prebook.http.push_target import PushTarget
from prebook.lab.experiments.pipes.samples import PipeSample
from prebook.lab.experiments.worker import ReadinessFile, redirect_output
from prebook.messaging.envelope import Envelope
from prebook.messaging.pipe_runner import PipeRunner, PulledItem, StageLoad, StageWork
from prebook.patterns.pipe import Filtered, Passed, Pipe, PipeEnd, Refused, StageVerdict
from prebook.rabbit.pipe_source import RabbitPipeSource
from prebook.topology.sender_check import accept_any_sender

SAMPLE_INTERVAL_S = 0.02
FILTER = "filter"
ENRICH = "enrich"
PUSH = "push"


class PipeWorkerSpec(ReadinessFile, msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of one process.

    ``one_thread``: run all stages one after the other. ``enrich_ms``: time that the enriching stage takes.
    ``unwanted``: messages that the filter drops; it writes their names to ``filtered_path``. ``omitted``: message that
    counts as delivered although nobody pushed it, a seeded defect; empty for none.
    """

    pipe: Pipe
    one_thread: bool
    amqp_url: str
    target_url: str
    ready_path: str
    filtered_path: str
    samples_path: str
    log_file: str
    enrich_ms: float = 0.0
    unwanted: frozenset[str] = frozenset()
    omitted: str = ""

    @classmethod
    def on_files(cls, stem: Path, **fields: Any) -> Self:
        """Return arguments whose files begin with ``stem``."""
        return cls(
            ready_path=f"{stem}.ready",
            filtered_path=f"{stem}.filtered",
            samples_path=f"{stem}.samples",
            log_file=f"{stem}.log",
            **fields,
        )

    def read_filtered(self) -> set[str]:
        """Return the names of the messages that the filter has dropped."""
        path = Path(self.filtered_path)
        return set(path.read_text().split()) if path.exists() else set()


class RunningPipe(Protocol):
    """A pipe that runs, however its stages are arranged."""

    @property
    def ends(self) -> Mapping[PipeEnd, int]:
        """Number of settled items by their end."""
        ...

    @property
    def loads(self) -> Mapping[str, StageLoad]:
        """Work of each stage."""
        ...

    @property
    def waiting(self) -> Mapping[str, int]:
        """Number of items that wait before each stage."""
        ...

    async def run(self) -> None:
        """Run until cancelled."""
        ...


class OneThread:
    """Wrong way: one thread takes an item through all stages before it takes the next one."""

    def __init__(self, pipe: Pipe, pull: Callable[[], Awaitable[PulledItem]], works: Mapping[str, StageWork]) -> None:
        self.ends = dict.fromkeys(PipeEnd, 0)
        self.loads = {stage.name: StageLoad() for stage in pipe.stages}
        self.waiting = dict.fromkeys(self.loads, 0)
        self._pull = pull
        self._works = works

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            pulled = await self._pull()
            verdict: StageVerdict[Any] = Passed(pulled.content)
            for name, work in self._works.items():
                if isinstance(verdict, Passed):
                    began = time.monotonic()
                    (verdict,) = await work([verdict.item])
                    load = self.loads[name]
                    load.batches += 1
                    load.busy_s += time.monotonic() - began
            await self._settle(pulled, verdict)

    async def _settle(self, pulled: PulledItem, verdict: StageVerdict[Any]) -> None:
        match verdict:
            case Refused(cause, reason):
                await pulled.park(cause, reason)
                self.ends[PipeEnd.PARKED] += 1
            case Filtered():
                await pulled.complete()
                self.ends[PipeEnd.FILTERED] += 1
            case Passed():
                await pulled.complete()
                self.ends[PipeEnd.DELIVERED] += 1


def run(spec: PipeWorkerSpec) -> None:
    """Entry point of the process."""
    redirect_output(spec.log_file)
    asyncio.run(_run(spec))


async def _run(spec: PipeWorkerSpec) -> None:
    source = RabbitPipeSource(spec.amqp_url, "lab", spec.pipe, check_sender=accept_any_sender)
    target = PushTarget(spec.target_url)
    all_works = {FILTER: _filter(spec), ENRICH: _enrich(spec), PUSH: _push(spec, target)}
    works = {stage.name: all_works[stage.name] for stage in spec.pipe.stages}
    arrange = OneThread if spec.one_thread else PipeRunner
    pipe: RunningPipe = arrange(spec.pipe, source.pull, works)
    async with first_error_task_group() as tasks:
        for connection in source.connections:
            tasks.create_task(connection.run())
        for connection in source.connections:
            await connection.up.wait()
        spec.mark_ready()
        tasks.create_task(pipe.run())
        tasks.create_task(_write_samples(spec, pipe))


def _filter(spec: PipeWorkerSpec) -> StageWork:
    """Stage that drops unwanted messages, and records each of them before it is acknowledged."""
    names = os.open(spec.filtered_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def work(items: Sequence[Envelope]) -> Sequence[StageVerdict[Any]]:
        for each in items:
            if each.conversation_id in spec.unwanted:
                os.write(names, f"{each.conversation_id}\n".encode())
        return [Filtered() if each.conversation_id in spec.unwanted else Passed(each) for each in items]

    return work


def _enrich(spec: PipeWorkerSpec) -> StageWork:
    async def work(items: Sequence[Envelope]) -> Sequence[StageVerdict[Any]]:
        await asyncio.sleep(spec.enrich_ms / 1000)
        return [Passed(each) for each in items]

    return work


def _push(spec: PipeWorkerSpec, target: PushTarget) -> StageWork:
    async def work(items: Sequence[Envelope]) -> Sequence[StageVerdict[Any]]:
        names = [each.conversation_id for each in items]
        verdicts = await target.push([{"name": name} for name in names if name != spec.omitted])
        by_name = dict(zip((name for name in names if name != spec.omitted), verdicts, strict=True))
        return [by_name.get(name, Passed(name)) for name in names]

    return work


async def _write_samples(spec: PipeWorkerSpec, pipe: RunningPipe) -> None:
    file = os.open(spec.samples_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    while True:
        due_s = time.monotonic() + SAMPLE_INTERVAL_S
        await asyncio.sleep(SAMPLE_INTERVAL_S)
        now_s = time.monotonic()
        sample = PipeSample(
            at_s=now_s,
            ended=pipe.ends[PipeEnd.DELIVERED] + pipe.ends[PipeEnd.PARKED],
            waiting={**pipe.waiting},
            batches={name: load.batches for name, load in pipe.loads.items()},
            busy_s={name: load.busy_s for name, load in pipe.loads.items()},
            lag_s=now_s - due_s,
        )
        os.write(file, msgspec.json.encode(sample) + b"\n")
