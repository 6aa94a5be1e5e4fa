"""Out of the way of others: to a delay and back to where it came from, or to the parking with its cause."""

from datetime import datetime

from prebook.coupling.ports import Publisher
from prebook.messaging import addresses
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.codec import Wire, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import spelled
from prebook.messaging.observer import Watch
from prebook.messaging.recoverability.dead_letter import CAUSE, ERROR, EXCHANGE, FAILED_AT, KEY, STACK, stack_digest


class Aside:
    """``address`` is the queue's name, or its group's. Raises Unreachable and Undeliverable."""

    def __init__(self, publisher: Publisher, watch: Watch) -> None:
        self._publisher, self._watch = publisher, watch

    async def delay(self, address: str, wire: Wire, pause_s: float) -> None:
        await self._publisher.publish(addresses.delay(pause_s), address, wire)

    async def park(self, address: str, wire: Wire, cause: str, error: Exception | None) -> None:
        self._watch.parked(wire.headers.get("prebook-flow", "unknown"), cause)
        failed = {ERROR: spelled(error), STACK: stack_digest(error)} if error else {}
        await self._publisher.publish(
            addresses.PARKING, address, Wire({**wire.headers, CAUSE: cause, **failed}, wire.body)
        )

    async def park_held(self, group: str, envelope: Envelope, cause: str, error: Exception | None) -> None:
        """As messaging.ordering.Aside has it: a message whose place is lost would be overtaken, so it waits."""
        try:
            await self.park(group, encode(envelope), cause, error)
        except Undeliverable as failure:
            raise Unreachable(f"cannot set aside: {failure}") from failure


def first_marks(exchange: str, key: str, at: datetime) -> dict[str, str]:
    """Where it was first published to, so that a replay can send it there again, and when it first failed."""
    return {EXCHANGE: exchange, KEY: key, FAILED_AT: at.isoformat()}
