"""Consumer process whose handler ends the process for one message; its effects are files."""

import asyncio
import os
from pathlib import Path

import msgspec

from prebook.messaging.envelope import Envelope
from prebook.messaging.observer import NullObserver
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.testing.configuration import make_policies
from prebook.topology.sender_check import accept_any_sender

POISON = "poison"
"""Prefix of the conversation whose message ends the process."""
PREFETCH = 32
EFFECT_S = 0.01
"""Seconds that the effect of a message takes, like a commit."""


class CrashingSpec(msgspec.Struct, frozen=True):
    """Arguments of a process. ``folder`` gets a file for each handled message."""

    url: str
    queues: tuple[str, ...]
    folder: str


def effect_path(folder: Path, conversation_id: str) -> Path:
    """Return the file that is the effect of a message."""
    return folder / f"{conversation_id}.effect"


def run(spec: CrashingSpec) -> None:
    """Consume until killed, or until the poison message arrives."""
    asyncio.run(_consume(spec))


async def _consume(spec: CrashingSpec) -> None:
    async def handle(envelope: Envelope) -> None:
        if envelope.conversation_id.startswith(POISON):
            os._exit(1)
        await asyncio.sleep(EFFECT_S)
        effect_path(Path(spec.folder), envelope.conversation_id).touch()

    publisher = RabbitPublisher(spec.url, "crashing")
    consumer = RabbitConsumer(
        spec.url,
        "crashing",
        dict.fromkeys(spec.queues, PREFETCH),
        handle,
        publisher=publisher,
        policies=make_policies(),
        observer=NullObserver(),
        check_sender=accept_any_sender,
    )
    await asyncio.gather(publisher.connection.run(), consumer.connection.run())
