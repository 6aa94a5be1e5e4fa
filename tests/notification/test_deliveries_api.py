"""``GET /v1/deliveries``, on both stores."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.notification import Notice
from prebook.notification.domain.cursor import CURSOR_PATTERN, LogPosition, decode_cursor, encode_cursor
from tests.notification.conftest import Begin
from tests.notification.delivery import log_client, notify, read_all_pages, read_page

# Order by code point, which differs from that of a dictionary.
BOOKINGS = ["bk_Z", "bk_a", "bk-1", "bk_B", "bk.2", "BK"]


async def test_pages_list_every_entry_once_in_order(begin: Begin) -> None:
    for booking_id in BOOKINGS:
        for notice in (Notice.CONFIRMED, Notice.CANCELLED):
            await notify(begin, booking_id, notice)

    async with log_client(begin) as client:
        entries = await read_all_pages(client, limit=5)
        whole = await read_page(client)

    assert [(entry.booking_id, entry.notice) for entry in entries] == sorted(
        (booking_id, notice) for booking_id in BOOKINGS for notice in ("cancelled", "confirmed")
    )
    assert (list(whole.entries), whole.next) == (entries, None)


async def test_a_full_last_page_has_no_next_page(begin: Begin) -> None:
    for booking_id in BOOKINGS[:4]:
        await notify(begin, booking_id)

    async with log_client(begin) as client:
        first = await read_page(client, limit=2)
        second = await read_page(client, limit=2, after=first.next or "")

    assert (len(first.entries), len(second.entries), second.next) == (2, 2, None)


async def test_an_empty_log_is_an_empty_page(begin: Begin) -> None:
    async with log_client(begin) as client:
        page = await read_page(client, after="")
    assert (page.entries, page.next) == ((), None)


async def test_since_is_an_instant_in_any_zone(begin: Begin) -> None:
    await notify(begin, "b1")
    now = datetime.now(UTC)
    soon, before = now + timedelta(minutes=1), now - timedelta(minutes=1)

    async with log_client(begin) as client:
        found = [
            len(await read_all_pages(client, since=since))
            for since in (
                before.isoformat(),
                before.isoformat().replace("+00:00", "Z"),
                before.replace(tzinfo=None).isoformat() + "+14:00",
                soon.isoformat(),
                soon.replace(tzinfo=None).isoformat() + "-12:00",
                "0001-01-01T00:00:00+23:59",
                "9999-12-31T23:59:59-23:59",
            )
        ]
    assert found == [1, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "many"),
        ("limit", ""),
        ("since", ""),
        ("since", "yesterday"),
        ("since", "1764000000"),
        ("since", "2026-11-24"),
        ("since", "2026-11-24T10:00:00"),
        ("since", "2026-13-24T10:00:00Z"),
        ("after", "b1"),
        ("after", "/confirmed"),
        ("after", "b1/Confirmed"),
        ("after", "b1/confirmed/x"),
        ("after", "b\0001/confirmed"),
        ("after", "b" * 201 + "/confirmed"),
    ],
)
async def test_an_invalid_parameter_is_named(begin: Begin, name: str, value: str) -> None:
    async with log_client(begin) as client:
        response = await client.get("/v1/deliveries", params={name: value})

    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("invalid_parameter", name)


async def test_the_api_shows_no_personal_data(begin: Begin) -> None:
    await notify(begin, "b1")
    async with log_client(begin) as client:
        response = await client.get("/v1/deliveries")
    assert "canary" not in response.text


@given(st.text("abcXYZ019_.:-", min_size=1, max_size=200), st.sampled_from(Notice))
def test_every_position_survives_encoding_as_a_cursor(booking_id: str, notice: Notice) -> None:
    at = LogPosition(booking_id, notice.value)
    assert decode_cursor(encode_cursor(at)) == at
    assert re.search(CURSOR_PATTERN, encode_cursor(at))


def test_the_empty_cursor_is_the_beginning() -> None:
    assert decode_cursor("") == LogPosition("", "")
    assert re.search(CURSOR_PATTERN, "")
