"""The one eligibility rule, and the texts that `prebook outbox` adds to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prebook.cli.outbox import ineligible_text
from prebook.postgres.outbox_admin import OutboxRow
from prebook.replay.eligibility import IneligibleReason, ReplayPolicy, ineligible_reason

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WEEK_S = 7 * 24 * 3600.0
POLICY = ReplayPolicy(now=NOW, inbox_dedup_s=WEEK_S)
PERMISSIVE = replace(POLICY, ignore_expiry=True, force=True)
OLD = NOW - timedelta(days=8)


def row(state: str = "undeliverable", *, age: timedelta = timedelta(hours=1), is_expired: bool = False) -> OutboxRow:
    return OutboxRow(
        service="matching",
        id=1,
        state=state,
        cause="unroutable",
        type="t",
        kind="event",
        flow="f",
        message_id="m",
        conversation_id="c",
        route="broker",
        ordering_key="c",
        failures=12,
        created_at=NOW - age,
        abandoned_at=NOW,
        expires_at=NOW - timedelta(seconds=1) if is_expired else None,
        error="e",
    )


def test_a_message_within_the_deduplication_window_is_eligible() -> None:
    assert ineligible_reason(POLICY, occurred_at=NOW) is None
    assert ineligible_reason(POLICY, occurred_at=NOW - timedelta(seconds=WEEK_S)) is None


def test_a_message_older_than_the_window_or_without_a_time_needs_force() -> None:
    for occurred_at in (NOW - timedelta(seconds=WEEK_S + 1), None):
        assert ineligible_reason(POLICY, occurred_at=occurred_at) is IneligibleReason.OUTSIDE_INBOX_WINDOW
        assert ineligible_reason(replace(POLICY, force=True), occurred_at=occurred_at) is None


def test_the_window_does_not_matter_to_a_receiver_without_an_inbox() -> None:
    assert ineligible_reason(POLICY, occurred_at=OLD, has_inbox=False) is None


def test_an_expired_message_is_ineligible_unless_expiry_is_ignored() -> None:
    assert ineligible_reason(POLICY, occurred_at=NOW, expires_at=NOW) is IneligibleReason.EXPIRED
    assert ineligible_reason(POLICY, occurred_at=NOW, expires_at=NOW + timedelta(seconds=1)) is None
    assert ineligible_reason(replace(POLICY, ignore_expiry=True), occurred_at=NOW, expires_at=NOW) is None


def test_no_option_makes_an_unreadable_message_eligible() -> None:
    assert ineligible_reason(PERMISSIVE, occurred_at=OLD, is_readable=False) is IneligibleReason.UNREADABLE


def test_the_outbox_sends_again_only_abandoned_unexpired_rows_within_the_window() -> None:
    assert ineligible_text(row(), POLICY) == ""
    assert "only abandoned rows" in ineligible_text(row("sent"), POLICY)
    assert "--ignore-expiry" in ineligible_text(row("expired", is_expired=True), POLICY)
    assert "--force" in ineligible_text(row(age=timedelta(days=8)), POLICY)
    assert ineligible_text(row("expired", age=timedelta(days=8), is_expired=True), PERMISSIVE) == ""
    assert ineligible_text(row("waiting"), PERMISSIVE) != ""
