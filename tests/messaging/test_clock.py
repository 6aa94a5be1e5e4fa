from datetime import UTC, datetime, timedelta

import pytest

from prebook.messaging.clock import WALL_CLOCK, WallClock, unix_s, utc_now

NEAR = timedelta(seconds=5)


@pytest.mark.parametrize("skew_s", [0.0, 90.0, -90.0])
def test_the_wall_clock_is_skewed_by_its_setting(skew_s: float) -> None:
    clock = WallClock(skew_s)
    expected = datetime.now(UTC) + timedelta(seconds=skew_s)
    assert abs(clock.utc_now() - expected) < NEAR
    assert abs(clock.unix_s() - expected.timestamp()) < NEAR.total_seconds()


def test_functions_imported_before_the_setting_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WALL_CLOCK, "skew_s", 3600.0)
    assert utc_now() - datetime.now(UTC) > timedelta(minutes=59)
    assert unix_s() - datetime.now(UTC).timestamp() > 59 * 60
