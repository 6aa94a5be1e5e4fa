import asyncio
from datetime import timedelta

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.throttle import throttled
from tests.messaging.examples import NOW, request


def policies(rate_per_s: float | None) -> dict[str, FlowPolicy]:
    return {flow: FlowPolicy(coupling=Coupling.ONE_WAY, rate_per_s=rate_per_s) for flow in FLOWS}


def noting(seen: list[tuple[str, float]]) -> MessageHandler:
    async def door(envelope: Envelope) -> None:
        seen.append((envelope.id, asyncio.get_running_loop().time()))

    return door


async def test_what_comes_at_once_is_let_through_at_the_rate_and_in_turn() -> None:
    seen: list[tuple[str, float]] = []
    door = throttled(noting(seen), policies(rate_per_s=50.0))
    await asyncio.gather(*(door(request(id=f"m{n}")) for n in range(11)))

    assert [name for name, _ in seen] == [f"m{n}" for n in range(11)]
    assert seen[-1][1] - seen[0][1] >= 10 / 50 - 0.01, "ten intervals between eleven"


async def test_answers_facts_and_what_has_expired_wait_for_nothing() -> None:
    seen: list[tuple[str, float]] = []
    door = throttled(noting(seen), policies(rate_per_s=0.001))
    asked = request(id="m0", expires_at=utc_now() + timedelta(hours=1))
    async with asyncio.timeout(2):
        await door(asked)
        await door(request(id="m1", expires_at=NOW - timedelta(days=1)))
        await door(asked.reply_with(asked.body, source="notification", at=NOW))

    assert [name for name, _ in seen] == ["m0", "m1", "m0.reply"]


async def test_without_a_rate_the_door_is_as_it_was() -> None:
    door = noting([])

    assert throttled(door, policies(rate_per_s=None)) is door
