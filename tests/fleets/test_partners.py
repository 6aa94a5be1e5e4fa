"""The simulated partners: the same ride has the same replies, and not all rides have one."""

import time
from dataclasses import replace

from prebook.contracts.fleets import AskFleet
from prebook.fleets.domain.message_translators import TRANSLATORS, PartnerAccepted, PartnerReply, UnreadableReply
from prebook.fleets.partners.registry import PARTNERS, partners
from prebook.fleets.partners.simulation import Partner, PartnerProfile
from tests.fleets.asks import FLEETS, ask, rides

COUNT = 1000
PINNED = [b'{"status": "OK", "eta_s": 420}', b"ACK;14", b'["yes", 16]']
"""What seed 7 makes of the ride of `ask`."""


async def replies(seed: int, count: int) -> list[tuple[PartnerReply, ...]]:
    """What each ride hears from the three, from partners that think at once."""
    known = [Partner(_quick(character), language, seed) for character, language in PARTNERS]
    questions = [
        [ask(fleet, lat=lat, passengers=passengers, pickup_at=at) for fleet in FLEETS]
        for lat, passengers, at in rides(count)
    ]
    return [tuple([await _reply(*pair) for pair in zip(known, ride, strict=True)]) for ride in questions]


async def _reply(partner: Partner, question: AskFleet) -> PartnerReply:
    translator = TRANSLATORS[question.fleet]
    return translator.read_reply(await partner.call(translator.encode_request(question)))


def _quick(character: PartnerProfile) -> PartnerProfile:
    return replace(character, min_latency_s=0.0, max_latency_s=0.0)


async def test_more_than_nine_rides_in_ten_find_a_fleet_and_some_find_none() -> None:
    heard = await replies(7, COUNT)
    none = sum(not any(isinstance(reply, PartnerAccepted) for reply in ride) for ride in heard)
    assert 0.005 * COUNT <= none <= 0.05 * COUNT
    accepted = [sum(isinstance(ride[at], PartnerAccepted) for ride in heard) / COUNT for at in range(len(FLEETS))]
    for share, (character, _) in zip(accepted, PARTNERS, strict=True):
        assert abs(share - character.acceptance_rate) < 0.05


async def test_some_replies_are_unreadable_and_they_are_few() -> None:
    garbled = sum(isinstance(reply, UnreadableReply) for ride in await replies(7, COUNT) for reply in ride)
    assert 1 <= garbled <= 0.02 * COUNT


async def test_a_seed_and_a_ride_say_it_all() -> None:
    once, again = await replies(7, 50), await replies(7, 50)
    assert once == again
    assert once != await replies(8, 50)


async def test_replies_do_not_change_from_release_to_release() -> None:
    """Campaigns of different days are compared by seed: a change of these is a change of every published figure."""
    said = [await partners(7)[fleet](TRANSLATORS[fleet].encode_request(ask(fleet))) for fleet in FLEETS]
    assert said == PINNED


async def test_each_partner_takes_its_own_time() -> None:
    known = partners(7)

    async def took(fleet: str) -> float:
        began = time.perf_counter()
        await known[fleet](TRANSLATORS[fleet].encode_request(ask(fleet)))
        return time.perf_counter() - began

    for character, _ in PARTNERS:
        assert await took(character.name) >= character.min_latency_s
