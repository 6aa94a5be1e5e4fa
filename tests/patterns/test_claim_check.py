"""Claim check: the check of a body, and the lifetime that a stored body needs."""

import pytest

from prebook.patterns.claim_check import ClaimLifetime, check_in

BODY = b'{"points": 3}'
LIFETIME = ClaimLifetime(archive_s=700, message_ttl_s=70, retries_s=7, parking_s=0.5)


def test_a_check_accepts_the_body_that_was_checked_in_and_no_other() -> None:
    check = check_in("m1", "prebook.route_planned.v1", BODY, "application/json")
    assert (check.size_bytes, check.problem_of(BODY)) == (len(BODY), "")
    assert check.problem_of(BODY[:-1]) == "12 bytes instead of 13"
    assert check.problem_of(BODY.replace(b"3", b"4")) == "another digest"


def test_a_reference_belongs_to_one_message_and_one_body() -> None:
    references = {
        check_in(id_, "t", body, "application/json").reference for id_ in ("m1", "m2") for body in (BODY, b"{}")
    }
    assert len(references) == 4
    assert check_in("m1", "t", BODY, "application/json") == check_in("m1", "t", BODY, "application/json")


def test_a_body_is_needed_for_all_ways_of_its_message_after_one_another() -> None:
    assert LIFETIME.required_s == 777.5
    assert LIFETIME.problem_of(777.5) == ""


@pytest.mark.parametrize("lifetime_s", [0.0, LIFETIME.message_ttl_s, 777.4])
def test_a_shorter_lifetime_is_refused_with_its_parts(lifetime_s: float) -> None:
    problem = LIFETIME.problem_of(lifetime_s)
    assert problem.startswith(f"{lifetime_s:g} s are shorter than the 777.5 s")
    assert problem.endswith("archive 700, waiting 70, retries 7, parking 0.5")
