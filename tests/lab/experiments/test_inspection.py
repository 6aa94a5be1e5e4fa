"""Law of the inspection, on depths made by hand. No server."""

from prebook.lab.experiments.inspection.registration import RIGHT, Inspection, depth_check
from prebook.lab.experiments.law import LawVerdict


def test_a_queue_with_another_depth_is_a_change() -> None:
    same = Inspection({"a": 3, "b": 0}, {"a": 3, "b": 0})
    moved = Inspection({"a": 3, "b": 0}, {"a": 2, "b": 1})
    assert (same.changed, moved.changed) == ([], ["a", "b"])
    assert depth_check(RIGHT, same).verdict is LawVerdict.HELD
    assert depth_check(RIGHT, moved).verdict is LawVerdict.VIOLATED
