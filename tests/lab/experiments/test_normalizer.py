"""Laws of the experiment normalizer, without servers: each is broken by what it forbids, and by nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from prebook.contracts.fleets import DeclineCause, FleetDeclined, FleetOffered
from prebook.contracts.partners import PartnerCondition
from prebook.fleets.domain import message_translators
from prebook.fleets.domain.message_translators import TRANSLATORS, PartnerAccepted
from prebook.fleets.partners.conditions import change_reply
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.normalizer.golden import ADA, BOREALIS, CARGO, DELTA, REPLIES, REQUESTS
from prebook.lab.experiments.normalizer.laws import (
    ACCOUNTED,
    COUNTED,
    GOLDEN,
    IDENTITY,
    KEPT,
    PARKED,
    RIGHT,
    VALUES,
    WRONG,
    Exchange,
    ExchangesSeen,
    KeptReply,
    cast,
    exchange_checks,
    pair_checks,
)
from prebook.lab.experiments.normalizer.registration import requests_for
from prebook.lab.load.rides import campaign_week
from prebook.messaging.clock import utc_now
from prebook.patterns.normalizer import ForeignMessage, Normalizer, UnreadableCause
from tests.fleets.requests import SLOT

OFFER = ForeignMessage(ADA, b'{"status": "OK", "eta_s": 420}')
UPGRADED = change_reply(PartnerCondition.UPGRADED, OFFER)
OFFERED = Exchange(
    fleet="ada", sent=OFFER, reply=FleetOffered(fleet="ada", driver="ada-1", slot=SLOT, minutes_away=7), kept=()
)
REFUSED = replace(OFFERED, reply=FleetDeclined(fleet="ada", reason="full"))
MISSING = replace(OFFERED, reply=FleetDeclined(fleet="ada", reason="no reply", cause=DeclineCause.NO_REPLY))
UNREADABLE = replace(
    OFFERED,
    reply=FleetDeclined(fleet="ada", reason="unreadable", cause=DeclineCause.UNREADABLE),
    kept=(KeptReply(UnreadableCause.UNKNOWN_VERSION, UPGRADED.media_type, OFFER.body),),
)
ALL = (OFFERED, REFUSED, MISSING, UNREADABLE)


def violated(*exchanges: Exchange, arrangement: str = RIGHT, **changes: Any) -> set[str]:
    seen = ExchangesSeen(exchanges=exchanges, since_restart=exchanges, listed=1, counted=1)
    checks = exchange_checks(replace(seen, **changes))
    return {check.law for check in checks if check.verdict is LawVerdict.VIOLATED and check.arrangement == arrangement}


def test_a_good_run_violates_no_law_and_a_cast_has_wrong_minutes() -> None:
    assert violated(*ALL) == set()
    assert violated(*ALL, arrangement=WRONG) == {VALUES}


@pytest.mark.parametrize(
    ("exchanges", "laws"),
    [
        ((*ALL, replace(OFFERED, reply=None)), {ACCOUNTED}),
        ((*ALL, UNREADABLE), {PARKED, COUNTED}),
        ((*ALL[:3], replace(UNREADABLE, kept=(KeptReply("garbled", UPGRADED.media_type, OFFER.body),))), {KEPT}),
        ((*ALL[:3], replace(UNREADABLE, kept=(KeptReply("unknown_version", ADA, OFFER.body),))), {KEPT}),
        ((*ALL[:3], replace(UNREADABLE, kept=(KeptReply("unknown_version", UPGRADED.media_type, b""),))), {KEPT}),
        (
            (*ALL, replace(OFFERED, reply=FleetOffered(fleet="ada", driver="ada-1", slot=SLOT, minutes_away=420))),
            {VALUES},
        ),
    ],
)
def test_each_defect_breaks_exactly_its_laws(exchanges: tuple[Exchange, ...], laws: set[str]) -> None:
    assert violated(*exchanges) == laws


@pytest.mark.parametrize(
    ("changes", "law"), [({"listed": 0}, PARKED), ({"listed": 2}, PARKED), ({"counted": 0}, COUNTED)]
)
def test_a_reply_that_is_not_listed_or_not_counted_breaks_its_law(changes: dict[str, Any], law: str) -> None:
    assert violated(*ALL, **changes) == {law}


def test_a_cast_is_right_only_where_the_unit_happens_to_be_minutes() -> None:
    meant = {
        media_type: (cast(body), meaning.minutes_away)
        for media_type, body, meaning in REPLIES
        if isinstance(meaning, PartnerAccepted) and meaning.minutes_away in {7, 10, 14, 15}
    }
    assert meant == {ADA: (420, 7), BOREALIS: (14, 14), CARGO: (16, 10), DELTA: (15, 15)}


def violated_pairs() -> set[str]:
    week = campaign_week(utc_now())
    checks = pair_checks(request for number in range(20) for request in requests_for(1, number, week))
    return {check.law for check in checks if check.verdict is LawVerdict.VIOLATED}


def test_every_partner_has_golden_pairs_that_hold() -> None:
    assert set(REQUESTS) == set(TRANSLATORS)
    assert {translator.reply_type for translator in TRANSLATORS.values()} <= {
        media_type for media_type, _, _ in REPLIES
    }
    assert violated_pairs() == set()


def test_a_translator_in_another_unit_breaks_the_golden_pairs_and_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    ada_in_minutes = Normalizer(
        {**message_translators.NORMALIZER.translators, ADA: lambda body: PartnerAccepted(cast(body) or 0)}
    )
    monkeypatch.setattr(message_translators, "NORMALIZER", ada_in_minutes)
    assert violated_pairs() == {GOLDEN, IDENTITY}
