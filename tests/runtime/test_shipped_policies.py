"""The policies that ship: deadlines of minutes, and whatever else must outlast or end before them."""

from datetime import timedelta
from pathlib import Path

from prebook.fleets.domain.fleet import RESERVATION_TTL
from prebook.lab.campaign.scenarios import DEFAULT_DURATION_S, SCENARIOS, SETTLE_TIMEOUT_S
from prebook.lab.chaos.command import DEFAULT_SETTLE_TIMEOUT_S
from prebook.matching.process import MAX_AUCTION_AGE
from prebook.messaging.policy import read_policies
from prebook.messaging.staging import INLINE_RECOVERY_S
from prebook.pricing.handlers import QUOTE_VALIDITY
from prebook.runtime.retention import INBOX_DEDUP_S, OUTBOX_DEDUP_S
from prebook.testing.configuration import make_settings

POLICIES = read_policies(Path(__file__).parents[2] / "deploy" / "couplings.toml")
DEADLINES = {flow: timedelta(seconds=policy.deadline_s) for flow, policy in POLICIES.items()}
MARGIN = timedelta(seconds=30)


def test_a_request_waits_for_minutes_and_a_synchronous_call_for_seconds() -> None:
    assert min(DEADLINES.values()) >= timedelta(minutes=2)
    assert max(policy.timeout_s for policy in POLICIES.values()) <= 5.0
    assert all(policy.timeout_s + INLINE_RECOVERY_S < policy.deadline_s for policy in POLICIES.values())


def test_a_ride_survives_as_long_as_its_requests_may_wait() -> None:
    assert DEADLINES["ask_fleet"] + MARGIN < DEADLINES["find_driver"], "booking waits for the auction"
    assert DEADLINES["ask_fleet"] + MARGIN < MAX_AUCTION_AGE, "an auction waits for a fleet that is away"
    assert MAX_AUCTION_AGE + MARGIN < RESERVATION_TTL
    assert DEADLINES["find_driver"] + MARGIN < QUOTE_VALIDITY, "a quote is valid until a driver is found"
    assert max(DEADLINES.values()) < timedelta(seconds=OUTBOX_DEDUP_S) <= timedelta(seconds=INBOX_DEDUP_S)


def test_admission_leaves_a_request_time_after_its_wait_in_the_outbox() -> None:
    assert (
        timedelta(seconds=make_settings().max_outbox_age_s) < min(DEADLINES["quote_fare"], DEADLINES["find_driver"]) / 2
    )


def test_campaign_and_chaos_wait_longer_than_a_stuck_ride() -> None:
    longest = max(DEADLINES["quote_fare"], DEADLINES["find_driver"])
    assert longest < timedelta(seconds=SETTLE_TIMEOUT_S)
    assert DEADLINES["quote_fare"] + DEADLINES["find_driver"] < timedelta(seconds=DEFAULT_SETTLE_TIMEOUT_S)


def test_the_outage_of_a_campaign_lasts_30_s_and_ends_before_the_deadlines() -> None:
    scenario = SCENARIOS["pricing_down"]
    assert scenario.fault is not None
    outage_s = scenario.fault.duration_fraction * scenario.duration_factor * DEFAULT_DURATION_S
    assert outage_s == 30.0
    assert timedelta(seconds=outage_s) < DEADLINES["quote_fare"] / 2
    assert scenario.outage_is_bridged
