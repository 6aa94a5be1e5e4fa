"""Times that contradict the load generator's clock."""

import msgspec
import pytest

from prebook.lab.ledger.accounts import build_accounts
from prebook.lab.ledger.clock_deviation import clock_deviation_s
from tests.lab.ledger.accounts_builder import answered, at, delivery_of, refused, row, sample


def deviation_s(*, accepted: float, settled: float, notified: float) -> float:
    """Return the deviation for a request that is sent at 10.0005 s and answered at 10.012 s."""
    ride_sample = sample(when=10.0)
    entry = msgspec.structs.replace(row(ride_sample, settled=settled), accepted_at=at(accepted))
    return clock_deviation_s(build_accounts([ride_sample], [entry], [delivery_of(entry, when=notified)]))


def test_times_in_their_order_show_no_deviation() -> None:
    assert deviation_s(accepted=10.005, settled=10.3, notified=10.4) == 0.0
    assert clock_deviation_s([refused(1, 0.0)]) == 0.0
    assert clock_deviation_s([]) == 0.0


@pytest.mark.parametrize(
    ("times", "expected_s"),
    [
        ({"accepted": -19.9995, "settled": 10.3, "notified": 10.4}, 30.0),
        ({"accepted": 10.512, "settled": 10.7, "notified": 10.8}, 0.5),
        ({"accepted": 10.005, "settled": 9.0005, "notified": 10.4}, 1.0),
        ({"accepted": 10.005, "settled": 10.3, "notified": 8.0005}, 2.0),
    ],
    ids=["booking behind", "booking ahead", "settled before it was sent", "notification behind"],
)
def test_a_time_before_its_cause_shows_a_deviation(times: dict[str, float], expected_s: float) -> None:
    assert deviation_s(**times) == pytest.approx(expected_s)


def test_the_largest_deviation_of_all_rides_counts() -> None:
    assert clock_deviation_s([answered(1, 0.0, 1.0), answered(2, 5.0, 2.0)]) == pytest.approx(3.0005)
