"""Retention of the archive: stated in days and rides a second, from which the size of the stream follows."""

from pathlib import Path

import pytest

from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import read_policies
from prebook.runtime.paths import couplings_file
from prebook.topology.archive import ARCHIVE_STREAM, BYTES_PER_RIDE, read_archive_retention
from prebook.topology.model import suite_topology


def couplings(folder: Path, table: str) -> Path:
    path = folder / "couplings.toml"
    path.write_text(f"{couplings_file().read_text()}\n[archive]\n{table}\n")
    return path


def limits(path: Path) -> dict[str, str | int]:
    topology = suite_topology({0.2}, archive=read_archive_retention(path))
    (policy,) = (policy for policy in topology.policies if policy.name == ARCHIVE_STREAM.name)
    return dict(policy.definition)


def test_the_size_follows_from_days_and_rate(tmp_path: Path) -> None:
    path = couplings(tmp_path, "days = 2\nrides_per_s = 10\nmax_gb = 30")
    assert limits(path)["max-age"] == "2D"
    assert limits(path)["max-length-bytes"] == 2 * 24 * 3600 * 10 * BYTES_PER_RIDE
    assert read_policies(path) == read_policies(couplings_file())


def test_the_default_keeps_a_week_within_a_gigabyte() -> None:
    found = limits(couplings_file())
    assert found["max-age"] == "7D"
    assert 900_000_000 < int(found["max-length-bytes"]) <= 1_000_000_000


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("rides_per_s = 10", r"7 days at 10 rides/s are 90\.7 GB, above max_gb = 1: allow more disk"),
        ("days = 8", "<= 7"),
        ("rides_per_s = 0", "> 0"),
        ("bytes = 5", "unknown field"),
    ],
)
def test_a_retention_without_room_is_refused(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InvalidPolicies, match=message):
        read_archive_retention(couplings(tmp_path, table))
