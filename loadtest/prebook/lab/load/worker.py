"""`prebook load worker`: the process of the console that offers the rides of an open-loop load.

Each line of the standard input is a LoadSettings, which starts or changes the load; its end stops it. Each line of the
standard output is a LoadProgress.
"""

import asyncio
import sys
from secrets import token_hex

import msgspec
import rich_click as click
import uvloop

from prebook.control_room.load_contract import LoadSettings
from prebook.devstack.command_line import run_interruptible
from prebook.devstack.lab_process import find_lab_environment
from prebook.lab.load.generator import Generator, open_session
from prebook.lab.load.open_load import RETRIES, OpenLoad
from prebook.lab.suite_client.settings import read_settings

PROGRESS_INTERVAL_S = 0.5
SCENARIO = "open-load"


@click.command(hidden=True)
def worker() -> None:
    """Offer rides by instructions on the standard input. Used by the control room; `prebook load start` uses it."""
    booking_url = read_settings(find_lab_environment()).addresses.public["booking"]
    run_interruptible(_run(booking_url), uvloop.new_event_loop)


async def _run(booking_url: str) -> None:
    async with open_session() as session:
        load = OpenLoad(Generator(session, booking_url, SCENARIO, RETRIES), f"load-{token_hex(4)}")
        telling = asyncio.create_task(_tell_progress(load))
        try:
            instructions = await _open_stdin()
            async for line in instructions:
                load.change(msgspec.json.decode(line, type=LoadSettings))
            load.stop()
            await load.drain()
        finally:
            telling.cancel()
        _write_progress(load)


async def _open_stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _tell_progress(load: OpenLoad) -> None:
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL_S)
        _write_progress(load)


def _write_progress(load: OpenLoad) -> None:
    sys.stdout.write(msgspec.json.encode(load.progress()).decode() + "\n")
    sys.stdout.flush()
