"""What operations took in: looked up by message id, and set aside again."""

import asyncio
from collections.abc import Collection

import aiohttp
import msgspec

from prebook.contracts.dead_letters import DiscardRequest, ParkedLine, ParkedPage, ParkedView, Selection
from prebook.flows import OPERATIONS
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import NoEffect

LOOK_EVERY_S = 0.3
TIMEOUT = aiohttp.ClientTimeout(total=8.0)
REASON = "sent on purpose by the load test to see it parked"


async def parked(levers: Levers, message_ids: Collection[str], within_s: float) -> tuple[ParkedLine, ...]:
    """One line for each id, in their order. Raises NoEffect where some did not come in time."""
    found: dict[str, ParkedLine] = {}
    try:
        async with asyncio.timeout(within_s):
            while left := [each for each in message_ids if each not in found]:
                for message_id in left:
                    found |= {line.message_id: line for line in await _lines(levers, message_id)}
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NoEffect(f"{', '.join(left)} not parked within {within_s:.0f} s; those that were stay parked") from None
    return tuple(found[each] for each in message_ids)


async def discard(levers: Levers, lines: Collection[ParkedLine]) -> None:
    wanted = DiscardRequest(selection=Selection(ids=tuple(line.id for line in lines)), reason=REASON)
    url = f"{levers.urls[OPERATIONS]}/v1/discards"
    json = {"Content-Type": "application/json"}
    async with levers.session.post(url, data=msgspec.json.encode(wanted), headers=json, timeout=TIMEOUT) as answer:
        answer.raise_for_status()


async def headers(levers: Levers, parked_id: int) -> dict[str, str]:
    """As the message came, what was noted when it was set aside included."""
    return msgspec.json.decode(await _get(levers, f"/v1/parked/{parked_id}"), type=ParkedView).headers


async def _lines(levers: Levers, message_id: str) -> tuple[ParkedLine, ...]:
    found = await _get(levers, "/v1/parked", message_id=message_id, in_state="parked")
    return msgspec.json.decode(found, type=ParkedPage).lines


async def _get(levers: Levers, path: str, **asked: str) -> bytes:
    async with levers.session.get(levers.urls[OPERATIONS] + path, params=asked, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        return await answer.read()
