"""Longest drain of a service process: the sum of the timeouts of its orderly stop."""

from prebook.asyncio_tools import CANCEL_TIMEOUT_S
from prebook.messaging.outbox.sender import DRAIN_TIMEOUT_S
from prebook.postgres import engine
from prebook.postgres.engine import Engines
from prebook.rabbit import connection
from prebook.rabbit.consumer import STOP_TIMEOUT_S
from prebook.rabbit.publisher import LAST_FRAME_TIMEOUT_S
from prebook.runtime.serve import SHUTDOWN_TIMEOUT_S, TASKS_TIMEOUT_S


def max_drain_s() -> float:
    """Return the seconds after SIGTERM in which a process has ended, even if broker and database hang."""
    steps = {
        "requests under way": SHUTDOWN_TIMEOUT_S,
        "subscriptions, then messages in hand": 2 * STOP_TIMEOUT_S,
        "work without a caller": TASKS_TIMEOUT_S + CANCEL_TIMEOUT_S,
        "connection of the consumer": connection.CLOSE_TIMEOUT_S + CANCEL_TIMEOUT_S,
        "relay: batches, then marks": 2 * DRAIN_TIMEOUT_S + CANCEL_TIMEOUT_S,
        "connection of the publisher": connection.CLOSE_TIMEOUT_S + CANCEL_TIMEOUT_S,
        "last publications": LAST_FRAME_TIMEOUT_S,
        "tasks of the gateway": TASKS_TIMEOUT_S + CANCEL_TIMEOUT_S,
        "pools of connections": len(Engines._fields) * engine.CLOSE_TIMEOUT_S,
    }
    return float(sum(steps.values()))
