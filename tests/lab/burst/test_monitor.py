"""Metrics of the services as the burst monitor reads them."""

from prebook.lab.burst.monitor import REFUSED_PUBLISHES_LINE, UTILIZATION_LINE, total_refused_publishes


def test_utilization_and_refused_publishes_are_read_from_metrics_pages() -> None:
    page = (
        'prebook_load_ratio{load="waiting_riders"} 0.25\n'
        'prebook_messages_send_failed_total{coupling="one_way",flow="notify_rider",kind="request"} 3.0\n'
        'prebook_messages_send_failed_total{coupling="async_api",flow="quote_fare",kind="request"} 5.0\n'
    )
    pages = dict.fromkeys(("booking", "pricing", "matching", "notification", "fleets"), page)

    assert UTILIZATION_LINE.findall(page) == [("waiting_riders", "0.25")]
    assert REFUSED_PUBLISHES_LINE.findall(page) == ["3.0"], "failed calls are no publishes"
    assert total_refused_publishes(pages) == 15
    assert total_refused_publishes({"booking": page}) is None
