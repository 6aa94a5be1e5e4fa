"""The partners' own wire: the same replies by HTTP as within the process, and each partner in its own condition."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from prebook.contracts.partners import PartnerCondition
from prebook.fleets.domain.message_translators import TRANSLATORS, PartnerAccepted
from prebook.fleets.partner_exchange import NoReply, call_partner
from prebook.fleets.partner_wire import http_call
from prebook.fleets.partners.conditions import SLOW_S, PartnerConditions
from prebook.fleets.partners.listeners import PartnerListeners
from prebook.fleets.partners.registry import partners
from prebook.fleets.partners.simulation import PartnerCall
from prebook.http.client import ServiceClient
from prebook.patterns.normalizer import ForeignMessage, UnreadableCause, UnreadableMessage
from tests.fleets.requests import FLEETS, fleet_request

TIMEOUT_S = 20.0


@asynccontextmanager
async def http_partners(
    served: dict[str, PartnerCall], timeout_s: float = TIMEOUT_S
) -> AsyncIterator[dict[str, PartnerCall]]:
    listeners = PartnerListeners(served)
    client = ServiceClient(listeners.urls)
    serving = asyncio.create_task(listeners.run())
    try:
        yield {name: http_call(client, listeners, name, timeout_s) for name in served}
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await client.close()


async def test_a_partner_replies_by_http_as_within_the_process() -> None:
    simulated = dict(partners(7))
    async with http_partners(simulated) as by_http:
        for fleet in FLEETS:
            request = TRANSLATORS[fleet].encode_request(fleet_request(fleet))
            assert await by_http[fleet](request) == await simulated[fleet](request)


async def test_a_listener_that_fails_sends_a_reply_of_no_known_format() -> None:
    async def fail(_: bytes) -> ForeignMessage:
        raise RuntimeError

    async with http_partners({"ada": fail}) as by_http:
        reply = (await call_partner(by_http["ada"], fleet_request(), TIMEOUT_S)).reply
    assert isinstance(reply, UnreadableMessage)
    assert (reply.cause, reply.message.media_type) == (UnreadableCause.UNKNOWN_VERSION, "status 500")


async def test_a_dead_partner_gives_no_reply_and_keeps_no_call() -> None:
    ended = asyncio.Event()

    async def hang(_: bytes) -> ForeignMessage:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with http_partners({"ada": hang}, timeout_s=0.2) as by_http:
        exchange = await call_partner(by_http["ada"], fleet_request(), 0.2)
        await asyncio.wait_for(ended.wait(), TIMEOUT_S)
    assert exchange.reply == NoReply()


def condition_calls(condition: PartnerCondition, now: list[float]) -> dict[str, PartnerCall]:
    """All partners, of which Ada is in ``condition`` for 10 s of the clock ``now``."""

    async def reply(_: bytes) -> ForeignMessage:
        return ForeignMessage(TRANSLATORS["ada"].reply_type, b'{"status": "OK", "eta_s": 60}')

    conditions = PartnerConditions(lambda: now[0])
    conditions.impose("ada", condition, 10.0)
    return {name: conditions.apply(name, reply) for name in ("ada", "borealis")}


async def ask(call: PartnerCall) -> object:
    return (await call_partner(call, fleet_request(), 0.1)).reply


@pytest.mark.parametrize("condition", [PartnerCondition.DEAD, PartnerCondition.SLOW])
async def test_a_dead_or_slow_partner_alone_gives_no_reply_in_time_until_its_time_is_over(
    condition: PartnerCondition,
) -> None:
    assert SLOW_S > 0.1
    now = [0.0]
    calls = condition_calls(condition, now)
    assert await ask(calls["ada"]) == NoReply()
    assert await ask(calls["borealis"]) == PartnerAccepted(1)
    now[0] = 10.0
    assert await ask(calls["ada"]) == PartnerAccepted(1)


async def test_a_slow_partner_replies_in_the_end() -> None:
    calls = condition_calls(PartnerCondition.SLOW, [0.0])
    assert (await call_partner(calls["ada"], fleet_request(), TIMEOUT_S)).reply == PartnerAccepted(1)


@pytest.mark.parametrize("fleet", FLEETS)
async def test_a_garbled_partner_sends_what_no_translator_reads(fleet: str) -> None:
    conditions = PartnerConditions()
    conditions.impose(fleet, PartnerCondition.GARBLED, 60.0)
    call = conditions.apply(fleet, partners(7)[fleet])
    exchange = await call_partner(call, fleet_request(fleet), TIMEOUT_S)
    assert exchange.outcome == "garbled"


@pytest.mark.parametrize("fleet", FLEETS)
async def test_an_upgraded_partner_names_a_version_that_no_translator_reads(fleet: str) -> None:
    conditions = PartnerConditions()
    conditions.impose(fleet, PartnerCondition.UPGRADED, 60.0)
    healthy = partners(7)[fleet]
    exchange = await call_partner(conditions.apply(fleet, healthy), fleet_request(fleet), TIMEOUT_S)
    assert exchange.outcome == "unknown_version"
    assert isinstance(exchange.reply, UnreadableMessage)
    request = TRANSLATORS[fleet].encode_request(fleet_request(fleet))
    assert exchange.reply.message.body == (await healthy(request)).body
