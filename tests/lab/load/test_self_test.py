"""Self-test of the load generator against a stub server: rate, lag and CPU time."""

import msgspec
import pytest

from prebook.lab.load.self_test import run_self_test, self_test_report
from prebook.lab.load.stub_server import request_size
from tests.lab.ledger.accounts_builder import sample


async def test_every_arrival_is_accepted_and_has_a_lag() -> None:
    report = await run_self_test(rate_per_s=300.0, duration_s=0.5)

    assert (report.arrivals, report.accepted) == (150, 150)
    assert report.cpu_us > 0
    assert report.lag_ms.count == report.response_ms.count == 150
    assert report.lag_ms.max <= report.response_ms.max


def test_the_offered_rate_is_the_rate_of_sent_requests() -> None:
    late = [msgspec.structs.replace(sample(n, when=n / 10), lag_ms=100.0 * n) for n in range(11)]

    assert self_test_report(late, 10.0, cpu_s=0.011).offered_per_s == pytest.approx(5.0)
    assert self_test_report(late, 10.0, cpu_s=0.011).cpu_us == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("received", "size"),
    [
        (b"", 0),
        (b"GET / HTTP/1.1\r\n\r\n", 18),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", 0),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST", 41),
    ],
)
def test_the_stub_server_finds_the_end_of_a_request(received: bytes, size: int) -> None:
    assert request_size(received) == size
