"""Errors of responses between services: Retry-After in both forms, bounded, and garbage ignored."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.coupling.http_errors import MAX_RETRY_AFTER_S, error_from_response, parse_retry_after
from prebook.coupling.ports import HttpResponse
from prebook.messaging.errors import Unreachable

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0.0),
        ("2", 2.0),
        (" 2 ", 2.0),
        ("86400", MAX_RETRY_AFTER_S),
        ("9" * 400, MAX_RETRY_AFTER_S),
        (format_datetime(NOW + timedelta(seconds=3), usegmt=True), 3.0),
        (format_datetime(NOW + timedelta(days=1), usegmt=True), MAX_RETRY_AFTER_S),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Tuesday, 24-Nov-26 12:00:02 GMT", 2.0),  # the two obsolete forms, which recipients have to accept
        ("Tue Nov 24 12:00:02 2026", 2.0),
    ],
)
def test_both_forms_of_retry_after_are_read_and_bounded(value: str, wait_s: float) -> None:
    assert parse_retry_after(value, NOW) == wait_s


@pytest.mark.parametrize(
    "value",
    [
        *("", "-1", "+1", "1.5", "1e3", "inf", "nan", "²", "٣", "1 2", "1, 2", "soon"),
        *("Tue, 99 Nov 2026 12:00:00 GMT", "Tue, 24 Nov 99999 12:00:00 GMT", "Tue, 24 Nov 2026 12:00:00 +9999"),
    ],
)
def test_a_retry_after_that_is_neither_form_is_ignored(value: str) -> None:
    assert parse_retry_after(value, NOW) is None


@given(st.text() | st.text("0123456789 :,-+GMTNovTue"))
def test_no_retry_after_raises_or_exceeds_its_bound(value: str) -> None:
    wait_s = parse_retry_after(value, NOW)

    assert wait_s is None or 0 <= wait_s <= MAX_RETRY_AFTER_S


def test_a_refusal_carries_the_bounded_wait() -> None:
    error = error_from_response("pricing", HttpResponse(503, {"retry-after": "86400"}, b""))

    assert isinstance(error, Unreachable)
    assert error.retry_after_s == MAX_RETRY_AFTER_S
