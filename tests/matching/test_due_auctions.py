"""A scan for overdue auctions reads the database when one is due, and now and then in any case."""

from prebook.matching.due_auctions import MAX_SCAN_INTERVAL_S, DueAuctions


def test_a_scan_begins_when_an_auction_is_due_and_once_for_it() -> None:
    now = [0.0]
    due = DueAuctions(lambda: now[0])
    due.add("b1", 1.0)
    due.add("b2", 1.5)
    assert not due.begin_scan()
    now[0] = 1.0
    assert due.begin_scan()
    assert not due.begin_scan()
    now[0] = 1.5
    assert due.begin_scan()


def test_a_decided_auction_needs_no_scan() -> None:
    now = [0.0]
    due = DueAuctions(lambda: now[0])
    due.add("b1", 1.0)
    due.discard("b1")
    due.discard("unknown")
    now[0] = 1.0
    assert not due.begin_scan()


def test_a_scan_begins_now_and_then_for_auctions_of_ended_processes() -> None:
    now = [0.0]
    due = DueAuctions(lambda: now[0])
    now[0] = MAX_SCAN_INTERVAL_S
    assert due.begin_scan()
    assert not due.begin_scan()
