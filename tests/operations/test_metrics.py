"""The gauge of parked messages."""

from prometheus_client import REGISTRY

from prebook.contracts.dead_letters import DeadLetterSelection
from prebook.operations.dead_letters.metrics import refresh_dead_letters
from tests.operations.examples import Begin, dead_letter, record_dead_letters


def read_gauge() -> list[tuple[dict[str, str], float]]:
    """Return labels and value of every sample."""
    families = [family for family in REGISTRY.collect() if family.name == "prebook_dead_letters"]
    return [(sample.labels, sample.value) for family in families for sample in family.samples]


async def test_parked_messages_are_counted_by_service_and_cause_until_they_are_discarded(begin: Begin) -> None:
    ids = await record_dead_letters(begin, dead_letter())
    await refresh_dead_letters(begin)
    assert read_gauge() == [({"service": "pricing", "cause": "attempts_exhausted"}, 1)]

    async with begin() as work:
        await work.discard(DeadLetterSelection(ids=tuple(ids)), "a test", operator="ada")
    await refresh_dead_letters(begin)
    assert read_gauge() == []
