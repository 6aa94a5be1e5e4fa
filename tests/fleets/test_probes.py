"""Probes of partners show the partner, not one ride: cargo always garbles its reply to one ride in 200."""

from types import SimpleNamespace
from typing import Any

import pytest

from prebook.contracts.partners import PartnerCondition, PartnerProbe
from prebook.fleets.api import internal_routes
from prebook.fleets.partner_wire import PartnerWire
from prebook.fleets.partners.registry import partners
from prebook.lab.faults.partners import SHOWS
from prebook.patterns.normalizer import ForeignMessage
from prebook.testing.configuration import make_settings
from tests.fleets.requests import PICKUP_AT

PROBES = 20


async def test_every_probe_asks_for_another_ride() -> None:
    requests = list[bytes]()

    async def record(request: bytes) -> ForeignMessage:
        requests.append(request)
        return await partners(7)["ada"](request)

    context: Any = SimpleNamespace(clock=lambda: PICKUP_AT, settings=make_settings())
    _, probe = internal_routes(context, PartnerWire({"ada": record}))
    probes = [await probe.fn(partner="ada") for _ in range(PROBES)]

    assert len(set(requests)) == PROBES
    assert {each.outcome for each in probes} <= {"accepted", "declined"}


@pytest.mark.parametrize(
    ("condition", "outcome", "seconds", "is_shown"),
    [
        (PartnerCondition.SLOW, "accepted", 1.0, True),
        (PartnerCondition.SLOW, "garbled", 1.0, True),
        (PartnerCondition.SLOW, "accepted", 0.1, False),
        (PartnerCondition.SLOW, "no_reply", 2.0, False),
        (PartnerCondition.DEAD, "no_reply", 2.0, True),
        (PartnerCondition.DEAD, "accepted", 0.1, False),
        (PartnerCondition.GARBLED, "garbled", 0.1, True),
        (PartnerCondition.GARBLED, "declined", 0.1, False),
        (PartnerCondition.HEALTHY, "declined", 0.1, True),
        (PartnerCondition.HEALTHY, "garbled", 0.1, False),
        (PartnerCondition.HEALTHY, "declined", 1.0, False),
    ],
)
def test_a_probe_shows_a_condition(condition: PartnerCondition, outcome: str, seconds: float, is_shown: bool) -> None:
    assert SHOWS[condition](PartnerProbe(fleet="cargo", outcome=outcome, seconds=seconds)) is is_shown
