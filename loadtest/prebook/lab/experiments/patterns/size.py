"""Size and laws that the pattern experiments share."""

from collections.abc import Iterable, Mapping, Sequence

import rich_click as click

from prebook.lab.experiments.experiment import Size, SizeOption
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import count_doubled, count_lost

NO_LOSS = "messages without an effect = 0"
NO_DUPLICATE = "messages with more than one effect = 0"


class PatternSize(Size, frozen=True, kw_only=True):
    """Size of an experiment: number of messages, and a defect to seed into the right way."""

    messages: int = 400
    defect: SeededDefect = SeededDefect.NONE


def defect_option(defects: Iterable[SeededDefect] = SeededDefect, mistake: str = "") -> SizeOption:
    """Return the option for the field ``defect`` of a size. ``mistake``: what goes wrong, if only one thing can."""
    text = f"Mistake to seed into the right way, to see which law fails{': ' if mistake else ''}{mistake}."
    return SizeOption("defect", click.Choice([str(defect) for defect in defects]), text)


LOSE_ONLY = (SeededDefect.NONE, SeededDefect.LOSE)
"""Defects of an experiment in which nothing can be doubled."""
QUICK = PatternSize(messages=60)
PATTERN_OPTIONS = (
    SizeOption("messages", click.IntRange(10, 20_000), "Number of messages."),
    defect_option(),
)


def effect_checks(
    arrangement: str, names: Sequence[str], counts: Mapping[str, int], *, duplicates: LawVerdict = LawVerdict.HELD
) -> Iterable[LawCheck]:
    """Yield the checks that no message has no effect, and none more than one; ``duplicates``: the expected verdict."""
    lost = ("lost", count_lost(names, counts))
    doubled = ("doubled", count_doubled(names, counts))
    yield check_law(NO_LOSS, arrangement, lost, Relation.EQUAL, ("", 0))
    yield check_law(NO_DUPLICATE, arrangement, doubled, Relation.EQUAL, ("", 0), expected=duplicates)
