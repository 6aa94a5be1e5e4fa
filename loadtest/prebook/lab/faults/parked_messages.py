"""Client of operations for the messages that faults cause to be parked: find, read and discard them."""

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
DISCARD_REASON = "poison message published by the prebook lab"


async def wait_until_parked(
    fault_access: FaultAccess, message_ids: Collection[str], timeout_s: float
) -> tuple[DeadLetterSummary, ...]:
    """Return the parked dead letter of each message id, in the order of the ids.

    Raises:
        NoEffect: a message is not parked within ``timeout_s`` seconds; the text names the missing ones.
    """
    suite = SuiteClient(fault_access.session, fault_access.addresses)
    found: dict[str, DeadLetterSummary] = {}

    async def look_up() -> tuple[DeadLetterSummary, ...] | None:
        for message_id in _missing(message_ids, found):
            dead_letters = await read_parked_messages(suite, message_id=message_id, in_state=DeadLetterState.PARKED)
            found.update((dead_letter.message_id, dead_letter) for dead_letter in dead_letters)
        return None if _missing(message_ids, found) else tuple(found[message_id] for message_id in message_ids)

    try:
        return await poll_until(look_up, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
    except TimeoutError:
        missing = ", ".join(_missing(message_ids, found))
        raise NoEffect(
            f"{missing} not parked within {timeout_s:.0f} s; the other poison messages stay parked"
        ) from None


def _missing(message_ids: Collection[str], found: Collection[str]) -> list[str]:
    return [message_id for message_id in message_ids if message_id not in found]


async def discard(fault_access: FaultAccess, dead_letters: Collection[DeadLetterSummary]) -> None:
    """Discard dead letters; an operator can restore them. Raises aiohttp.ClientError."""
    ids = tuple(dead_letter.id for dead_letter in dead_letters)
    request = DiscardRequest(selection=DeadLetterSelection(ids=ids), reason=DISCARD_REASON)
    url = f"{fault_access.addresses.public[OPERATIONS]}/v1/discards"
    headers = {"Content-Type": "application/json", **fault_access.addresses.operator_headers}
    async with fault_access.session.post(
        url, data=msgspec.json.encode(request), headers=headers, timeout=TIMEOUT
    ) as response:
        response.raise_for_status()


async def read_headers(fault_access: FaultAccess, dead_letter_id: int) -> dict[str, str]:
    """Return the headers of a dead letter, including those added when it was parked. Raises aiohttp.ClientError."""
    url = f"{fault_access.addresses.public[OPERATIONS]}/v1/dead-letters/{dead_letter_id}"
    headers = fault_access.addresses.operator_headers
    async with fault_access.session.get(url, headers=headers, timeout=TIMEOUT) as response:
        response.raise_for_status()
        return msgspec.json.decode(await response.read(), type=DeadLetterView).headers
