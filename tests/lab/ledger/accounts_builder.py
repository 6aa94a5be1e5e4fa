"""Builders of samples, ledger rows, deliveries and accounts for tests that need no suite."""

from datetime import UTC, datetime, timedelta

import msgspec

from prebook.contracts.booking import DeliveryEntry, LedgerEntry
from prebook.contracts.ride import BookingState
from prebook.lab.ledger.accounts import RideAccount, build_accounts
from prebook.lab.load.plans import PLANS
from prebook.lab.load.samples import Sample, idempotency_key
from tests.lab.stub_suite import requested_row

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def sample(
    ride: int = 0, *, label: str = "one_way", status: int | None = 202, error: str | None = None, when: float = 0.0
) -> Sample:
    return Sample(
        scenario="calm",
        label=label,
        ride=ride,
        key=idempotency_key("run", "calm", label, ride),
        intended_at=at(when),
        lag_ms=0.5,
        status=status,
        error=error,
        response_ms=None if status is None else 12.0,
        booking_id=f"bk_{label}_{ride}" if status in {201, 202} else None,
    )


def row(
    ride_sample: Sample, state: BookingState = BookingState.CONFIRMED, *, settled: float | None = None
) -> LedgerEntry:
    entry = requested_row(
        ride_sample.key,
        f"bk_{ride_sample.label}_{ride_sample.ride}",
        state=state,
        accepted_at=ride_sample.intended_at,
        fare_cents=1000 + ride_sample.ride,
        couplings=dict(PLANS[ride_sample.label]),
    )
    if settled is None:
        return entry
    return msgspec.structs.replace(entry, settled_at=at(settled), fleet="north", driver=entry.booking_id, slot=START)


def delivery_of(
    entry: LedgerEntry, *, deliveries: int = 1, notice: str | None = None, when: float = 1.0
) -> DeliveryEntry:
    return DeliveryEntry(
        booking_id=entry.booking_id,
        notice=notice or entry.state.value,
        delivered_at=at(when),
        times_delivered=deliveries,
    )


def answered(ride: int, offered: float, settled: float, state: BookingState = BookingState.CONFIRMED) -> RideAccount:
    ride_sample = sample(ride, when=offered)
    settled_row = row(ride_sample, state, settled=settled)
    return build_accounts([ride_sample], [settled_row], [delivery_of(settled_row, when=settled)])[0]


def refused(ride: int, offered: float) -> RideAccount:
    return build_accounts([sample(ride, status=503, when=offered)], [], [])[0]
