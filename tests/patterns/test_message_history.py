"""Message history: hops recorded, the bound, and texts that are no history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.message_history import (
    MAX_COUNTED_HOPS,
    MAX_HISTORY_CHARS,
    MAX_HOPS,
    count_hops,
    hop,
    listed_hops,
    with_hop,
)

FIRST = hop("booking", "prebook.requests")
RETRY = hop("pricing", "prebook.delay.200")


def history_of(hops: int) -> str:
    history = ""
    for number in range(hops):
        history = with_hop(history, hop("service", f"exchange.{number}"))
    return history


def test_hops_are_listed_from_the_first_to_the_last() -> None:
    history = with_hop(with_hop("", FIRST), RETRY)
    assert history == "booking>prebook.requests;pricing>prebook.delay.200"
    assert listed_hops(history) == (FIRST, RETRY)


@pytest.mark.parametrize("hops", [0, 1, MAX_HOPS - 1, MAX_HOPS, MAX_HOPS + 1, 10 * MAX_HOPS])
def test_all_hops_are_counted_and_the_newest_are_listed(hops: int) -> None:
    history = history_of(hops)
    assert count_hops(history) == hops
    assert listed_hops(history) == tuple(f"service>exchange.{n}" for n in range(hops))[-MAX_HOPS:]
    assert len(history) <= MAX_HISTORY_CHARS


def test_the_longest_names_stay_within_the_bound() -> None:
    history = ""
    for _ in range(2 * MAX_HOPS):
        history = with_hop(history, hop("c" * 1_000, "e" * 1_000))
    assert MAX_HISTORY_CHARS - 10 <= len(history) <= MAX_HISTORY_CHARS
    assert count_hops(history) == 2 * MAX_HOPS


def test_names_have_only_characters_of_a_hop() -> None:
    assert hop("pri;cing", "a>b+c d\r\n\u00e9") == "pri_cing>a_b_c_d___"
    assert hop("", "") == "_>_"


@pytest.mark.parametrize(
    "stranger",
    [
        "garbage",
        "a>b;",
        ";a>b",
        "a>b\n",
        "a>b;c",
        "0+a>b",
        "-1+a>b",
        "12345678+a>b",
        "\u0661+a>b",
        "3+",
        ";".join([FIRST] * (MAX_HOPS + 1)),
        "a>" + "b" * 1_000_000,
    ],
)
def test_a_text_that_is_no_history_counts_as_none(stranger: str) -> None:
    assert (count_hops(stranger), listed_hops(stranger)) == (0, ())
    assert with_hop(stranger, RETRY) == RETRY


@given(st.text(max_size=3_000))
def test_whatever_a_stranger_writes_the_next_history_is_valid_and_bounded(stranger: str) -> None:
    history = with_hop(stranger, RETRY)
    assert listed_hops(history)[-1] == RETRY
    assert count_hops(history) == min(count_hops(stranger) + 1, MAX_COUNTED_HOPS)
    assert len(history) <= MAX_HISTORY_CHARS


def test_the_count_stops_at_its_largest_value() -> None:
    full = "999999+" + ";".join([FIRST] * MAX_HOPS)
    assert count_hops(with_hop(full, RETRY)) == count_hops(full) == 999_999 + MAX_HOPS
