"""The gauge of parked messages."""

from prometheus_client import CollectorRegistry

from prebook.contracts.dead_letters import DeadLetterSelection
from prebook.operations.dead_letters.metrics import DeadLetterGauge
from tests.operations.examples import Begin, dead_letter, record_dead_letters


async def test_parked_messages_are_counted_by_service_and_cause_until_they_are_discarded(begin: Begin) -> None:
    registry = CollectorRegistry()
    gauge = DeadLetterGauge(begin, registry)
    ids = await record_dead_letters(begin, dead_letter())
    await gauge.refresh()
    (family,) = registry.collect()
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"service": "pricing", "cause": "attempts_exhausted"}, 1)

    async with begin() as work:
        await work.discard(DeadLetterSelection(ids=tuple(ids)), "a test")
    await gauge.refresh()
    assert [s for family in registry.collect() for s in family.samples] == []
