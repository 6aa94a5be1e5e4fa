"""What operations took in: looked up by message id, and set aside again."""

import asyncio
from collections.abc import Collection

import aiohttp
import msgspec

from prebook.contracts.dead_letters import (
    DeadLetterPage,
    DeadLetterSelection,
    DeadLetterSummary,
    DeadLetterView,
    DiscardRequest,
)
from prebook.flows import OPERATIONS
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import NoEffect

POLL_INTERVAL_S = 0.3
TIMEOUT = aiohttp.ClientTimeout(total=8.0)
DISCARD_REASON = "sent on purpose by the load test to see it parked"


async def wait_until_parked(
    fault_access: FaultAccess, message_ids: Collection[str], timeout_s: float
) -> tuple[DeadLetterSummary, ...]:
    """One line for each id, in their order. Raises NoEffect where some did not come in time."""
    found: dict[str, DeadLetterSummary] = {}
    try:
        async with asyncio.timeout(timeout_s):
            while left := [each for each in message_ids if each not in found]:
                for message_id in left:
                    found |= {line.message_id: line for line in await _find_parked(fault_access, message_id)}
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise NoEffect(f"{', '.join(left)} not parked within {timeout_s:.0f} s; those that were stay parked") from None
    return tuple(found[each] for each in message_ids)


async def discard(fault_access: FaultAccess, lines: Collection[DeadLetterSummary]) -> None:
    wanted = DiscardRequest(selection=DeadLetterSelection(ids=tuple(line.id for line in lines)), reason=DISCARD_REASON)
    url = f"{fault_access.urls[OPERATIONS]}/v1/discards"
    json = {"Content-Type": "application/json"}
    async with fault_access.session.post(
        url, data=msgspec.json.encode(wanted), headers=json, timeout=TIMEOUT
    ) as answer:
        answer.raise_for_status()


async def read_headers(fault_access: FaultAccess, parked_id: int) -> dict[str, str]:
    """As the message came, what was noted when it was set aside included."""
    return msgspec.json.decode(await _get(fault_access, f"/v1/parked/{parked_id}"), type=DeadLetterView).headers


async def _find_parked(fault_access: FaultAccess, message_id: str) -> tuple[DeadLetterSummary, ...]:
    found = await _get(fault_access, "/v1/parked", message_id=message_id, in_state="parked")
    return msgspec.json.decode(found, type=DeadLetterPage).dead_letters


async def _get(fault_access: FaultAccess, path: str, **asked: str) -> bytes:
    async with fault_access.session.get(fault_access.urls[OPERATIONS] + path, params=asked, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        return await answer.read()
