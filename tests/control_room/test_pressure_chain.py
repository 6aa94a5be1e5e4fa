"""The chain of back pressure: which limit is fullest, and which link limits."""

import pytest

from prebook.control_room.pressure_chain import chain_of

IDLE = {"outbox_rows": 0.0, "outbox_age": 0.01, "broker_blocked": 0.0, "quote_fare_by_one_way": 0.1}


def test_each_link_shows_its_fullest_limit() -> None:
    links = chain_of({**IDLE, "find_driver_by_sync_api": 0.3, "outbox_rows": 0.2})["links"]
    assert list(links) == ["queue", "relay", "outbox", "admission"]
    assert links["queue"] == {"load": "find_driver_by_sync_api", "ratio": 0.3}
    assert links["outbox"] == {"load": "outbox_rows", "ratio": 0.2}


@pytest.mark.parametrize(
    ("loads", "limiting"),
    [
        ({}, None),
        (IDLE, None),
        ({**IDLE, "quote_fare_by_one_way": 1.2, "outbox_age": 1.1}, "queue"),
        ({**IDLE, "broker_blocked": 1.0}, "relay"),
        ({**IDLE, "outbox_age": 0.9, "quote_fare_by_one_way": 0.5}, "outbox"),
        ({**IDLE, "concurrent_inserts": 1.0}, "admission"),
    ],
)
def test_the_fullest_link_limits_once_it_nears_its_limit(loads: dict[str, float], limiting: str | None) -> None:
    assert chain_of(loads)["limiting"] == limiting
