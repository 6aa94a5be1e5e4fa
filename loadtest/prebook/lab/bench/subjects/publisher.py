"""The outbox relay through the suite's own AMQP client, and through the client libraries that it replaces.

Whether ``rabbit/amqp_publisher`` is worth its code is decided here: it goes when a library drains 0.8 of its rate.
"""

from functools import partial

from prebook.lab.bench.rounds import RoundFigures, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row
from prebook.lab.bench.subjects.relay import RelayPair, open_queues
from prebook.lab.bench.testbed import READY_TIMEOUT_S, BenchTestbed, is_ready, wait_until
from prebook.lab.process_tree import read_cpu_time_s

ROWS = 5_000
"""Fewer than the relay's backlog: a library takes five times as long."""
MIN_GAIN = 1.25
"""Own rate by the library's: below it, a library has more than 0.8 of the rate, and our own client is not worth it."""
NOTE = "the same relay, window, confirms and properties; the clients differ"
VARIANTS = {"aio-pika": "aio_pika", "aiormq": "aiormq"}


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Two rows for each library: rows drained per second, and CPU time of the process for each row."""
    async with open_queues(testbed, ROWS) as pair:
        own = partial(_drain, testbed, pair, "prebook.booking")
        module = "prebook.lab.bench.components.library_publisher"
        through = {name: partial(_drain, testbed, pair, module, variant) for name, variant in VARIANTS.items()}
        found = await run_interleaved({"ours": own, **through}, rounds)
    return [row for name in VARIANTS for row in _rows(name, found["ours"], found[name])]


async def _drain(testbed: BenchTestbed, pair: RelayPair, *module: str) -> RoundFigures:
    """One backlog through a new process, since two relays would share the rows; the first, discarded, warms it up."""
    async with testbed.run_module(*module, env=testbed.envs["booking"]) as process:
        await wait_until(lambda: is_ready(testbed.urls["booking"]), READY_TIMEOUT_S)
        await pair.drain_suite()
        cpu_s = read_cpu_time_s(process.pid)
        figures = await pair.drain_suite()
        return {**figures, "cpu_us": (read_cpu_time_s(process.pid) - cpu_s) / pair.rows * 1e6}


def _rows(name: str, ours: dict[str, list[float]], library: dict[str, list[float]]) -> list[BenchRow]:
    rate = Benchmark(
        "relay: drain a backlog, by AMQP client", "rows/s", Better.HIGHER, f"through {name}", MIN_GAIN, NOTE
    )
    cpu = Benchmark(
        "relay: CPU time of the process, by AMQP client",
        "us/row",
        Better.LOWER,
        f"through {name}",
        1 / MIN_GAIN,
        NOTE,
    )
    return [bench_row(rate, ours["rows_s"], library["rows_s"]), bench_row(cpu, ours["cpu_us"], library["cpu_us"])]
