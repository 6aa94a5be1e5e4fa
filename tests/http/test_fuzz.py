"""Many hostile requests on sockets: no unhandled error, no connection that stays, no memory that grows."""

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import psutil
import pytest

from prebook.testing.http import create_memory_app
from tests.booking.booking_suite import BookingSuite
from tests.http.hostile_client import read_statuses, send
from tests.http.raw_server import HURRIED, serve_raw, wait_until
from tests.http.request_fuzzer import RequestFuzzer

log = logging.getLogger(__name__)
CLIENTS = 96
MAX_GROWTH_BYTES = 40 * 1024 * 1024
TIMEOUT_S = 60.0
SHORT_S = 0.1
LIMITS = replace(
    HURRIED,
    max_connections=2 * CLIENTS,
    head_timeout_s=SHORT_S,
    body_timeout_s=SHORT_S,
    linger_s=SHORT_S,
    tick_s=SHORT_S / 2,
)


@pytest.mark.parametrize(
    ("seed", "requests"),
    [(1, 2_000), pytest.param(2, 100_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
async def test_hostile_requests_leave_a_server_as_it_was(
    seed: int, requests: int, caplog: pytest.LogCaptureFixture
) -> None:
    fuzzer = RequestFuzzer(seed)
    statuses: Counter[int] = Counter()
    process = psutil.Process()
    left = requests
    rss: list[int] = []
    suite = BookingSuite()
    empty_tables = suite.database.tables
    app: Any = create_memory_app(suite.assembled)

    async def run_client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if left % 500 == 0:  # a transaction copies the tables in memory: they must stay small
                suite.database.tables = empty_tables
            if left == requests * 4 // 5:
                rss.append(process.memory_info().rss)
            case = fuzzer.next_case()
            reception = await send(server.port, case, TIMEOUT_S)
            assert not reception.timed_out, case
            statuses.update(read_statuses(case, reception.data))

    with caplog.at_level(logging.WARNING):
        async with serve_raw(app=app, limits=LIMITS, keep_alive_s=0) as server:
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(run_client())
            rss.append(process.memory_info().rss)
            await wait_until(lambda: not server.open_connections)
            (good,) = await server.ask(b"GET /livez HTTP/1.1\r\nHost: booking\r\n\r\n")

    log.info("%d requests: statuses %s, refused %s, RSS %s", requests, statuses, server.refused, rss)
    assert good.status == 200
    assert not server.refused.keys() & {"overloaded", "repeated_header"}, "problems of the application"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert {200, 202, 400, 404, 405, 408, 413, 415, 417, 501, 505} <= statuses.keys()
    assert rss[-1] - rss[0] < MAX_GROWTH_BYTES
