"""What operations took in: looked up by message id, and set aside again."""

from collections.abc import Collection

import aiohttp
import msgspec

from prebook.contracts.dead_letters import (
    DeadLetterSelection,
    DeadLetterState,
    DeadLetterSummary,
    DeadLetterView,
    DiscardRequest,
)
from prebook.flows import OPERATIONS
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import NoEffect
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.services import SuiteClient, read_parked_messages

POLL_INTERVAL_S = 0.3
TIMEOUT = aiohttp.ClientTimeout(total=8.0)
DISCARD_REASON = "sent on purpose by the lab to see it parked"


async def wait_until_parked(
    fault_access: FaultAccess, message_ids: Collection[str], timeout_s: float
) -> tuple[DeadLetterSummary, ...]:
    """Return one line for each id, in their order. Raises NoEffect where one is not parked within ``timeout_s``."""
    suite = SuiteClient(fault_access.session, fault_access.urls)
    found: dict[str, DeadLetterSummary] = {}

    async def look_up() -> tuple[DeadLetterSummary, ...] | None:
        for message_id in _missing(message_ids, found):
            lines = await read_parked_messages(suite, message_id=message_id, in_state=DeadLetterState.PARKED)
            found.update((line.message_id, line) for line in lines)
        return None if _missing(message_ids, found) else tuple(found[each] for each in message_ids)

    try:
        return await poll_until(look_up, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
    except TimeoutError:
        missing = ", ".join(_missing(message_ids, found))
        raise NoEffect(f"{missing} not parked within {timeout_s:.0f} s; those that were stay parked") from None


def _missing(message_ids: Collection[str], found: Collection[str]) -> list[str]:
    return [each for each in message_ids if each not in found]


async def discard(fault_access: FaultAccess, lines: Collection[DeadLetterSummary]) -> None:
    wanted = DiscardRequest(selection=DeadLetterSelection(ids=tuple(line.id for line in lines)), reason=DISCARD_REASON)
    url = f"{fault_access.urls[OPERATIONS]}/v1/discards"
    json = {"Content-Type": "application/json"}
    async with fault_access.session.post(
        url, data=msgspec.json.encode(wanted), headers=json, timeout=TIMEOUT
    ) as response:
        response.raise_for_status()


async def read_headers(fault_access: FaultAccess, dead_letter_id: int) -> dict[str, str]:
    """Return the headers of a dead letter, those added when it was parked included."""
    url = f"{fault_access.urls[OPERATIONS]}/v1/dead-letters/{dead_letter_id}"
    async with fault_access.session.get(url, timeout=TIMEOUT) as response:
        response.raise_for_status()
        return msgspec.json.decode(await response.read(), type=DeadLetterView).headers
