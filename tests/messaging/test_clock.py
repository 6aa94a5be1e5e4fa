from datetime import UTC, datetime, timedelta

import pytest

from prebook.messaging.clock import WALL_CLOCK, WallClock, unix_s, utc_now

NEAR = timedelta(seconds=5)


@pytest.mark.parametrize("skew_s", [0.0, 90.0, -90.0])
def test_a_clock_is_as_far_ahead_as_it_is_set(skew_s: float) -> None:
    clock = WallClock(skew_s)
    expected = datetime.now(UTC) + timedelta(seconds=skew_s)
    assert abs(clock.utc_now() - expected) < NEAR
    assert abs(clock.unix_s() - expected.timestamp()) < NEAR.total_seconds()


def test_what_was_imported_before_follows_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WALL_CLOCK, "skew_s", 3600.0)
    assert utc_now() - datetime.now(UTC) > timedelta(minutes=59)
    assert unix_s() - datetime.now(UTC).timestamp() > 59 * 60
