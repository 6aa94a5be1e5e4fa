"""A client that sends hostile requests to a server, and what no response to them may be."""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass

from tests.http.request_fuzzer import FuzzCase

HANDLED_5XX = frozenset({501, 503, 505})
"""Statuses above 499 that a server chooses: every other one is an error that nobody handled."""
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True)
class Reception:
    """Bytes that a client received. ``timed_out``: it gave up on a server that neither sent more nor closed."""

    data: bytes
    timed_out: bool = False


async def send(port: int, case: FuzzCase, timeout_s: float) -> Reception:
    """Send a case on a connection of its own, and receive until the server closes it, or is silent for ``timeout_s``.

    The connection is closed in any case, and reset at once if the case says so.
    """
    received = b""
    timed_out = False
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for segment in case.segments:
            writer.write(segment)
            await writer.drain()
        if case.ending == "half_close":
            writer.write_eof()
        while case.ending != "reset" and (data := await asyncio.wait_for(reader.read(65536), timeout_s)):
            received += data
    except TimeoutError:
        timed_out = True
    except OSError:  # the server has ended the connection; a half close of such a one is no ConnectionError
        pass
    finally:
        if case.ending == "reset":
            writer.transport.abort()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return Reception(received, timed_out)


def read_statuses(case: FuzzCase, received: bytes) -> list[int]:
    """Return the statuses of the responses to a case.

    Raises:
        AssertionError: one of them is an unhandled error, or no problem document but plain text.
    """
    statuses = [int(status) for status in STATUS.findall(received)]
    assert not {status for status in statuses if status >= 500} - HANDLED_5XX, (case, received[-1000:])
    assert b"text/plain" not in received, (case, received[-1000:])
    return statuses
