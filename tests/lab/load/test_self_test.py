"""The generator against a stub server: what it drives, and how late it is."""

import msgspec
import pytest

from prebook.lab.load.self_test import run_self_test, self_test_report
from prebook.lab.load.stub_server import request_size
from tests.lab.ledger.accounts_builder import sample


async def test_the_generator_drives_every_arrival_and_knows_how_late_each_was() -> None:
    made = await run_self_test(rate_per_s=300.0, duration_s=0.5)

    assert (made.arrivals, made.accepted) == (150, 150)
    assert made.cpu_us > 0
    assert made.lag_ms.count == made.response_ms.count == 150
    assert made.lag_ms.max <= made.response_ms.max


def test_the_rate_is_that_of_the_requests_that_left() -> None:
    late = [msgspec.structs.replace(sample(n, when=n / 10), lag_ms=100.0 * n) for n in range(11)]

    assert self_test_report(late, 10.0, cpu_s=0.011).offered_per_s == pytest.approx(5.0)
    assert self_test_report(late, 10.0, cpu_s=0.011).cpu_us == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("heard", "size"),
    [
        (b"", 0),
        (b"GET / HTTP/1.1\r\n\r\n", 18),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", 0),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST", 41),
    ],
)
def test_the_answerer_knows_where_a_request_ends(heard: bytes, size: int) -> None:
    assert request_size(heard) == size
