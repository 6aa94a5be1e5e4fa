"""Parked messages, counted for whoever watches."""

from prometheus_client import CollectorRegistry

from prebook.contracts.dead_letters import DeadLetterSelection
from prebook.operations.dead_letters.metrics import DeadLetterGauge
from tests.operations.parcels import Begin, parcel, taken_in


async def test_they_are_told_by_service_and_cause_until_somebody_has_decided(begin: Begin) -> None:
    registry = CollectorRegistry()
    gauge = DeadLetterGauge(begin, registry)
    first = await taken_in(begin, parcel())
    await gauge.refresh()
    (family,) = registry.collect()
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"service": "pricing", "cause": "attempts_exhausted"}, 1)

    async with begin() as work:
        await work.discard(DeadLetterSelection(ids=tuple(first)), "a test")
    await gauge.refresh()
    assert [s for family in registry.collect() for s in family.samples] == []
