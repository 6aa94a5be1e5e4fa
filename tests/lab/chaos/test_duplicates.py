"""The duplicate counter sums over flows and over restarts of the services."""

import aiohttp

from prebook.lab.chaos.duplicates import DuplicateCounter, duplicates_in

PAGE = """
# HELP prebook_messages_duplicate_total Messages ignored because the inbox already held their id.
# TYPE prebook_messages_duplicate_total counter
prebook_messages_duplicate_total{coupling="one_way",flow="quote_fare",kind="request"} 3.0
prebook_messages_duplicate_total{coupling="async_api",flow="find_driver",kind="reply"} 2.0
prebook_messages_duplicate_created{coupling="one_way",flow="quote_fare",kind="request"} 1.7e+09
prebook_messages_handled_total{coupling="one_way",flow="quote_fare",kind="request"} 90.0
"""


def test_the_duplicates_of_all_flows_of_a_page_are_summed() -> None:
    assert duplicates_in(PAGE) == 5.0
    assert duplicates_in("") == 0.0


async def test_counts_survive_a_restart_and_the_first_count_is_the_baseline() -> None:
    async with aiohttp.ClientSession() as session:
        duplicates = DuplicateCounter(session, {})
        for count in (2.0, 5.0, 1.0, 1.0, 4.0):
            duplicates.record("pricing", count)
        assert duplicates.total == (5 - 2) + 4
        duplicates.record("booking", 7.0)
        assert duplicates.total == 7
