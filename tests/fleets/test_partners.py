"""Simulated partners: deterministic replies, of which some are refusals."""

import time
from dataclasses import replace

from prebook.contracts.fleets import AskFleet
from prebook.fleets.domain.message_translators import TRANSLATORS, PartnerAccepted, PartnerReply, read_reply
from prebook.fleets.partners.registry import PARTNERS, partners
from prebook.fleets.partners.simulation import Partner, PartnerProfile
from prebook.patterns.normalizer import UnreadableMessage
from tests.fleets.requests import FLEETS, fleet_request, rides

COUNT = 1000
PINNED = [b'{"status": "OK", "eta_s": 420}', b"ACK;14", b'["yes", 16]', b'{"offer": {"arrives_in": "PT15M"}}']
"""Replies with seed 7 to the ride of `fleet_request`."""


async def replies(seed: int, count: int) -> list[tuple[PartnerReply | UnreadableMessage, ...]]:
    """Replies of all partners, without latency, to each ride."""
    known = [Partner(_without_latency(profile), wire_format, seed) for profile, wire_format in PARTNERS]
    requests = [
        [fleet_request(fleet, lat=lat, passengers=passengers, pickup_at=at) for fleet in FLEETS]
        for lat, passengers, at in rides(count)
    ]
    return [tuple([await _reply(*pair) for pair in zip(known, ride, strict=True)]) for ride in requests]


async def _reply(partner: Partner, request: AskFleet) -> PartnerReply | UnreadableMessage:
    return read_reply(await partner.call(TRANSLATORS[request.fleet].encode_request(request)))


def _without_latency(profile: PartnerProfile) -> PartnerProfile:
    return replace(profile, min_latency_s=0.0, max_latency_s=0.0)


async def test_most_rides_get_an_offer_and_some_get_none() -> None:
    replies_by_ride = await replies(7, COUNT)
    none = sum(not any(isinstance(reply, PartnerAccepted) for reply in ride[:3]) for ride in replies_by_ride)
    assert 0.005 * COUNT <= none <= 0.05 * COUNT
    accepted = [
        sum(isinstance(ride[at], PartnerAccepted) for ride in replies_by_ride) / COUNT for at in range(len(FLEETS))
    ]
    for share, (profile, _) in zip(accepted, PARTNERS, strict=True):
        assert abs(share - profile.acceptance_rate) < 0.05


async def test_a_small_share_of_replies_is_unreadable() -> None:
    garbled = sum(isinstance(reply, UnreadableMessage) for ride in await replies(7, COUNT) for reply in ride)
    assert 1 <= garbled <= 0.02 * COUNT


async def test_replies_depend_on_seed_and_ride_only() -> None:
    once = await replies(7, 50)
    again = await replies(7, 50)
    assert once == again
    assert once != await replies(8, 50)


async def test_replies_of_a_seed_are_the_same_in_every_release() -> None:
    """Campaigns are compared by seed across releases: a change of these replies changes every published figure."""
    replies = [await partners(7)[fleet](TRANSLATORS[fleet].encode_request(fleet_request(fleet))) for fleet in FLEETS]
    assert [reply.body for reply in replies] == PINNED


async def test_each_partner_has_its_minimum_latency() -> None:
    known = partners(7)

    async def measure_latency_s(fleet: str) -> float:
        began = time.perf_counter()
        await known[fleet](TRANSLATORS[fleet].encode_request(fleet_request(fleet)))
        return time.perf_counter() - began

    for profile, _ in PARTNERS:
        assert await measure_latency_s(profile.name) >= profile.min_latency_s
