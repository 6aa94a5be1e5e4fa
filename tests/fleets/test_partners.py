"""The simulated partners: the same ride has the same replies, and not all rides have one."""

import time
from dataclasses import replace

from prebook.contracts.fleets import AskFleet
from prebook.fleets.domain.message_translators import TRANSLATORS, Accepts, Reply, Unreadable
from prebook.fleets.partners.registry import ROSTER, partners
from prebook.fleets.partners.simulation import Character, Partner
from tests.fleets.asks import FLEETS, ask, rides

COUNT = 1000
PINNED = [b'{"status": "OK", "eta_s": 420}', b"ACK;14", b'["yes", 16]']
"""What seed 7 makes of the ride of `ask`."""


async def replies(seed: int, count: int) -> list[tuple[Reply, ...]]:
    """What each ride hears from the three, from partners that think at once."""
    known = [Partner(_quick(character), language, seed) for character, language in ROSTER]
    questions = [
        [ask(fleet, lat=lat, passengers=passengers, pickup_at=at) for fleet in FLEETS]
        for lat, passengers, at in rides(count)
    ]
    return [tuple([await _reply(*pair) for pair in zip(known, ride, strict=True)]) for ride in questions]


async def _reply(partner: Partner, question: AskFleet) -> Reply:
    translator = TRANSLATORS[question.fleet]
    return translator.reply(await partner.ask(translator.speak(question)))


def _quick(character: Character) -> Character:
    return replace(character, fastest_s=0.0, slowest_s=0.0)


async def test_more_than_nine_rides_in_ten_find_a_fleet_and_some_find_none() -> None:
    heard = await replies(7, COUNT)
    none = sum(not any(isinstance(reply, Accepts) for reply in ride) for ride in heard)
    assert 0.005 * COUNT <= none <= 0.05 * COUNT
    accepted = [sum(isinstance(ride[at], Accepts) for ride in heard) / COUNT for at in range(len(FLEETS))]
    for share, (character, _) in zip(accepted, ROSTER, strict=True):
        assert abs(share - character.accepts) < 0.05


async def test_some_replies_are_unreadable_and_they_are_few() -> None:
    garbled = sum(isinstance(reply, Unreadable) for ride in await replies(7, COUNT) for reply in ride)
    assert 1 <= garbled <= 0.02 * COUNT


async def test_a_seed_and_a_ride_say_it_all() -> None:
    once, again = await replies(7, 50), await replies(7, 50)
    assert once == again
    assert once != await replies(8, 50)


async def test_replies_do_not_change_from_release_to_release() -> None:
    """Campaigns of different days are compared by seed: a change of these is a change of every published figure."""
    said = [await partners(7)[fleet](TRANSLATORS[fleet].speak(ask(fleet))) for fleet in FLEETS]
    assert said == PINNED


async def test_each_partner_takes_its_own_time() -> None:
    known = partners(7)

    async def took(fleet: str) -> float:
        began = time.perf_counter()
        await known[fleet](TRANSLATORS[fleet].speak(ask(fleet)))
        return time.perf_counter() - began

    for character, _ in ROSTER:
        assert await took(character.name) >= character.fastest_s
