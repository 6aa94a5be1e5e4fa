"""Laws of the experiment with the content enricher on counts made by hand. No server."""

from collections.abc import Mapping
from typing import Any

import pytest

from prebook.lab.experiments.enricher import registration as enricher
from prebook.lab.experiments.enricher.registration import EnrichmentFacts
from prebook.lab.experiments.law import LawVerdict
from prebook.patterns.enricher import AbsencePolicy


def facts(**changes: Any) -> EnrichmentFacts:
    given: dict[str, Any] = {
        "received": 10,
        "outcomes": {"enriched": 10},
        "ages_s": [0.0, 0.1],
        "lookups": 5,
        "locked": 0,
        "locked_ms": 1.0,
        "per_s": 100.0,
    }
    return EnrichmentFacts(**{**given, **changes})


@pytest.mark.parametrize(
    ("policy", "outcomes", "violated"),
    [
        (AbsencePolicy.WAIT, {"enriched": 10}, []),
        (AbsencePolicy.SKIP, {"enriched": 4, "skipped": 6}, []),
        (AbsencePolicy.PARK, {"enriched": 4, "parked": 6}, []),
        (AbsencePolicy.WAIT, {"enriched": 9}, [enricher.ACCOUNTED]),
        (AbsencePolicy.SKIP, {"enriched": 5, "skipped": 6}, [enricher.ACCOUNTED]),
        (AbsencePolicy.WAIT, {"enriched": 9, "skipped": 1}, [enricher.ALLOWED]),
        (AbsencePolicy.SKIP, {"enriched": 9, "parked": 1}, [enricher.ALLOWED]),
        (AbsencePolicy.PARK, {"enriched": 9, "skipped": 1}, [enricher.ALLOWED]),
    ],
)
def test_a_lost_repeated_or_forbidden_outcome_violates_its_law(
    policy: AbsencePolicy, outcomes: Mapping[str, int], violated: list[str]
) -> None:
    checks = enricher.policy_checks(policy, facts(outcomes=outcomes))
    assert [check.law for check in checks if check.problem] == violated


def test_a_profile_that_is_too_old_violates_its_law_only() -> None:
    checks = enricher.policy_checks(AbsencePolicy.WAIT, facts(ages_s=[0.0, enricher.MAX_AGE_S + 0.01]))
    assert [check.law for check in checks if check.problem] == [enricher.YOUNG]


def test_a_lookup_that_holds_a_lock_violates_its_law() -> None:
    assert enricher.lock_check(enricher.BEFORE, facts(), LawVerdict.HELD).problem == ""
    assert enricher.lock_check(enricher.BEFORE, facts(locked=1), LawVerdict.HELD).verdict is LawVerdict.VIOLATED
