"""Crashing-poison fault: every replica of a service crashes whenever it receives one message, which is then parked.

A replica that is not armed would handle the message, so all of them are.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from prebook.devstack.supervisor.process import MAX_BACKOFF_S
from prebook.lab.faults import parked_messages, poison
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.messages import CRASHING_POISON, poison_message
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.faults.processes import RESTART_TIMEOUT_S, list_replicas, wait_for_new_pid
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.supervisor import SupervisorClient, SupervisorError

POLL_INTERVAL_S = 0.2
MAX_DELIVERIES = 21
"""Deliveries of a message until its queue's delivery limit parks it: one more than the limit."""
START_S = 10.0
"""Upper bound of the seconds that a process on a busy machine takes from its start until it consumes."""
PARKING_TIMEOUT_S = MAX_DELIVERIES * (MAX_BACKOFF_S + START_S)
"""Seconds within which the message has crashed its receiver as often as its queue permits, and is parked."""


async def publish_crashing_poison(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Publish a message at which every replica of ``fault.target`` crashes; return once it is parked.

    At least ``duration_s`` seconds pass. The replicas are restarted before, to arm them, and afterwards, to disarm
    them. The dead letter is discarded; an operator can restore it. Returns the evidence: restarts, cause and attempts.

    Raises:
        NoEffect: the message is not parked, or for another cause, or the processes crashed less often than it was
            delivered.
    """
    control = fault_access.supervisor(fault.target)
    message = poison_message(CRASHING_POISON, f"poison-{uuid4().hex[:8]}-{CRASHING_POISON.cause}")
    message_id = str(message.message_id)
    async with _arm_replicas(control, fault.target, message_id):
        before = await _count_restarts(control, fault.target)
        await poison.publish_to_notification(fault_access, [message])
        dead_letters, _slept = await asyncio.gather(
            parked_messages.wait_until_parked(fault_access, [message_id], duration_s + PARKING_TIMEOUT_S),
            asyncio.sleep(duration_s),
        )
        await parked_messages.discard(fault_access, dead_letters)
        parked = poison.evidence_text(dead_letters, [CRASHING_POISON])
        crashes = await _wait_for_restarts(control, fault.target, before, dead_letters[0].attempts)
    return f"{crashes} restarts of {fault.target}; {parked}"


@asynccontextmanager
async def _arm_replicas(control: SupervisorClient, service: str, message_id: str) -> AsyncIterator[None]:
    """Arm every replica of ``service`` while the block runs."""
    replicas = [replica.name for replica in await list_replicas(control, service)]
    try:
        await _restart_all(control, replicas, message_id)
        yield
    finally:
        await _restart_all(control, replicas, None)


async def _restart_all(control: SupervisorClient, replicas: Sequence[str], message_id: str | None) -> None:
    await asyncio.gather(*(_restart(control, name, message_id) for name in replicas))


async def _restart(control: SupervisorClient, name: str, message_id: str | None) -> None:
    """Restart a process, to crash at a message or (None) at none.

    The request is repeated while it is refused: a process that crashes again and again is down most of the time.
    """
    refusals: list[str] = []

    async def request_restart() -> int | None:
        try:
            ending_pid = await control.read_pid(name)
            await control.send_command(f"/processes/{name}/crash_message", {"message_id": message_id})
        except SupervisorError as refusal:
            refusals.append(str(refusal))
            return None
        return ending_pid

    try:
        ending_pid = await poll_until(request_restart, interval_s=POLL_INTERVAL_S, timeout_s=RESTART_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"{name} could not be restarted: {', '.join(refusals[-1:])}") from None
    await wait_for_new_pid(control, name, ending_pid, RESTART_TIMEOUT_S)


async def _count_restarts(control: SupervisorClient, service: str) -> int:
    return sum(replica.restarts for replica in await list_replicas(control, service))


async def _wait_for_restarts(control: SupervisorClient, service: str, before: int, expected: int) -> int:
    """Return the number of restarts since it was ``before``, once there were as many as ``expected``."""
    restarts = 0

    async def read_restarts() -> int | None:
        nonlocal restarts
        restarts = await _count_restarts(control, service) - before
        return restarts if restarts >= expected else None

    try:
        return await poll_until(read_restarts, interval_s=POLL_INTERVAL_S, timeout_s=RESTART_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"{restarts} restarts of {service} at {expected} deliveries of the message") from None
