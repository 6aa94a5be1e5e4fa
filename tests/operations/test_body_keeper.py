"""Keeper of bodies: as long as a dead letter is not resolved, the sender keeps the body that it refers to."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from prebook.contracts.claim_store import MAX_REFERENCES
from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterSelection, DeadLetterState
from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters import body_keeper
from prebook.operations.dead_letters.body_keeper import BodyKeeper, references_by_sender
from prebook.operations.dead_letters.store import BodyReference
from tests.operations.examples import Begin, dead_letter, record_dead_letters

RESOLVE = text("UPDATE dead_letter SET state = :state WHERE id = :id")


def path_of(number: int) -> str:
    return f"/checked-bodies/{number:064x}"


class Senders(HttpClient):
    """Services that note which bodies they were asked to keep; those in ``away`` do not answer."""

    def __init__(self, *away: str) -> None:
        self.away = away
        self.kept: list[tuple[str, str, list[str]]] = []

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        if service in self.away:
            raise Unreachable("away")
        self.kept.append((f"{method} {path}", service, msgspec.json.decode(body)["references"]))
        return HttpResponse(200, {}, b'{"kept": 1}')


def request_letter(number: int, **changes: Any) -> DeadLetter:
    return dead_letter(number, **{"ce_dataref": path_of(number), **changes})


def reply_letter(number: int) -> DeadLetter:
    return request_letter(number, prebook_kind="reply")


async def test_bodies_are_kept_at_the_service_that_sent_them(begin: Begin) -> None:
    await record_dead_letters(begin, request_letter(1), reply_letter(2), dead_letter(3))
    senders = Senders()
    await BodyKeeper(begin, senders).extend()
    assert sorted(senders.kept) == [
        ("POST /checked-bodies/extensions", "booking", [f"{1:064x}"]),
        ("POST /checked-bodies/extensions", "pricing", [f"{2:064x}"]),
    ]


async def test_a_discarded_message_keeps_its_body_and_a_resolved_one_does_not(begin: Begin) -> None:
    ids = await record_dead_letters(begin, request_letter(1), request_letter(2))
    async with begin() as work:
        await work.discard(DeadLetterSelection(ids=(ids[0],)), "not now", operator="ada")
        await work.connection.execute(RESOLVE, {"state": DeadLetterState.RESOLVED.value, "id": ids[1]})
        assert not await work.list_dead_letters((DeadLetterState.PARKED,), DeadLetterFilter(), 2**62, 10)
    senders = Senders()
    await BodyKeeper(begin, senders).extend()
    assert [references for _, _, references in senders.kept] == [[f"{1:064x}"]]


async def test_a_service_that_is_away_delays_no_other(begin: Begin) -> None:
    await record_dead_letters(begin, request_letter(1), reply_letter(2))
    senders = Senders("booking")
    await BodyKeeper(begin, senders).extend()
    assert [service for _, service, _ in senders.kept] == ["pricing"]


async def test_all_pages_are_extended(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_keeper, "MAX_REFERENCES", 2)
    await record_dead_letters(begin, *(request_letter(number) for number in range(1, 6)))
    senders = Senders()
    await BodyKeeper(begin, senders).extend()
    assert [len(references) for _, _, references in senders.kept] == [2, 2, 1]
    assert MAX_REFERENCES > 2


@pytest.mark.parametrize(
    ("kind", "flow", "path"),
    [
        ("no kind", "quote_fare", path_of(1)),
        ("request", "no_flow", path_of(1)),
        ("request", "quote_fare", "/checked-bodies/extensions"),
        ("request", "quote_fare", f"/elsewhere/{1:064x}"),
    ],
)
def test_a_malformed_reference_is_left_out(kind: str, flow: str, path: str) -> None:
    assert references_by_sender([BodyReference(1, kind, flow, path)]) == {}
