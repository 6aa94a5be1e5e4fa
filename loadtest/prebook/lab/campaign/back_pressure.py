"""Switch booking's back pressure off while a block runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prebook.lab.suite_client.services import SuiteClient

SWITCH_DELAY_S = 1.0
"""Seconds after which every replica of booking has read a switch."""


@asynccontextmanager
async def switch_off(suite: SuiteClient) -> AsyncIterator[None]:
    """Refuse no ride for load while the block runs; restore what is configured afterwards. Raises SuiteUnreachable."""
    await suite.switch_back_pressure(enabled=False)
    await asyncio.sleep(SWITCH_DELAY_S)
    try:
        yield
    finally:
        await suite.switch_back_pressure(enabled=None)
