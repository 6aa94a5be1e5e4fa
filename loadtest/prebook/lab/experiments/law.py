"""Laws of experiments: two measured sides, a relation between them, and what a run says about it. Pure."""

import operator
from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec


class Relation(StrEnum):
    """Relation that a law claims between its two sides."""

    EQUAL = "="
    AT_MOST = "<="
    AT_LEAST = ">="


HOLDS: Mapping[Relation, Callable[[float, float], bool]] = {
    Relation.EQUAL: operator.eq,
    Relation.AT_MOST: operator.le,
    Relation.AT_LEAST: operator.ge,
}


class LawVerdict(StrEnum):
    """Result of a check. A law about time is inconclusive if the machine was too busy to tell."""

    HELD = "held"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


class LawSide(msgspec.Struct, frozen=True):
    """One side of a law: the name of a quantity, and its value in this run."""

    name: str
    value: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:g}".strip()


class LawCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A law and the two sides that one arrangement has shown.

    The wrong way beside the right one is an arrangement that is expected to violate a law.
    """

    law: str
    arrangement: str
    left: LawSide
    relation: Relation
    right: LawSide
    verdict: LawVerdict
    expected: LawVerdict
    doubt: str = ""
    """Reason why the law cannot be judged; empty for a law about counts."""

    @property
    def is_as_expected(self) -> bool:
        """Whether the verdict is the expected one; an inconclusive one contradicts nothing."""
        return self.verdict in {self.expected, LawVerdict.INCONCLUSIVE}

    @property
    def problem(self) -> str:
        """Difference from the expected result in one sentence; empty if there is none."""
        if self.is_as_expected:
            return ""
        shown = f"{self.left} {self.relation} {self.right}"
        if self.expected is LawVerdict.VIOLATED:
            return f"nothing was shown: {self.arrangement} was to violate '{self.law}', but it held ({shown})"
        return f"{self.arrangement} violated '{self.law}': {shown} does not hold"


def check_law(
    law: str,
    arrangement: str,
    left: tuple[str, float],
    relation: Relation,
    right: tuple[str, float],
    *,
    expected: LawVerdict = LawVerdict.HELD,
    doubt: str = "",
) -> LawCheck:
    """Return the check of a law: ``left`` and ``right`` are the names and values of its sides.

    ``doubt``: reason why a law about time cannot be judged, which makes it inconclusive; empty if it can be.
    """
    holds = HOLDS[relation](left[1], right[1])
    verdict = LawVerdict.INCONCLUSIVE if doubt else LawVerdict.HELD if holds else LawVerdict.VIOLATED
    return LawCheck(
        law=law,
        arrangement=arrangement,
        left=LawSide(*left),
        relation=relation,
        right=LawSide(*right),
        verdict=verdict,
        expected=expected,
        doubt=doubt,
    )
