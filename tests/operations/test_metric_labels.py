"""Strangers' headers add no series to the metrics of operations."""

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from prebook.flows import PROCESSES
from prebook.messaging.recoverability.dead_letter import DeadLetter, XDeath
from prebook.operations.dead_letters import metrics
from prebook.operations.dead_letters.recorder import DeadLetterRecorder
from prebook.topology.sender_check import accept_any_sender
from tests.operations.examples import NOW, Begin, dead_letter, headers, record_dead_letters

MESSAGES = 2000
ROOT = Path(__file__).parents[2]
CAUSE_LITERAL = re.compile(r'\bcause = "(\w+)"|Malformed\("(\w+)"|\bPark\("(\w+)"|[A-Z_]*CAUSE = "(\w+)"')


def read_labels(family_name: str) -> list[dict[str, str]]:
    families = [family for family in REGISTRY.collect() if family.name == family_name]
    return [s.labels for family in families for s in family.samples if not s.name.endswith("_created")]


def expired_request(queue: str) -> DeadLetter:
    original = {name: value for name, value in headers().items() if not name.startswith("prebook-x-")}
    death = XDeath(queue, "prebook.requests", "quote_fare", "expired", 1, NOW)
    return DeadLetter(queue, {**original, "prebook-expires-at": "2020-01-01T00:00:00+00:00"}, b"{}", (death,), NOW)


async def test_causes_and_services_of_strangers_are_counted_together_as_unknown(begin: Begin) -> None:
    strangers = [
        dead_letter(number, queue=f"stranger{number}.requests.x", prebook_x_cause=f"cause{number}")
        for number in range(MESSAGES)
    ]
    await record_dead_letters(begin, dead_letter(), *strangers[: MESSAGES // 10])
    await metrics.refresh_dead_letters(begin)
    assert sorted(read_labels("prebook_dead_letters"), key=str) == [
        {"service": "pricing", "cause": "attempts_exhausted"},
        {"service": "unknown", "cause": "unknown"},
    ]
    sample = REGISTRY.get_sample_value("prebook_dead_letters", {"service": "unknown", "cause": "unknown"})
    assert sample == MESSAGES // 10


async def test_requests_that_expired_in_a_queue_of_strangers_share_one_series() -> None:
    def begin() -> Any:
        raise AssertionError("no transaction may begin")

    recorder = DeadLetterRecorder(begin, accept_any_sender)
    with capture_logs():
        for number in range(MESSAGES):
            await recorder.record(expired_request(f"stranger{number}"))
    strange = [labels["queue"] for labels in read_labels("prebook_requests_expired_in_queue")]
    assert strange.count("unknown") == 1
    assert not [queue for queue in strange if queue.startswith("stranger")]


@pytest.mark.parametrize("process", PROCESSES)
def test_every_cause_of_the_code_is_a_label(process: str) -> None:
    sources = [*(ROOT / "shared/prebook").rglob("*.py"), *(ROOT / "services/prebook" / process).rglob("*.py")]
    matches = [match for path in sources for match in CAUSE_LITERAL.findall(path.read_text())]
    causes = {cause for match in matches for cause in match if cause}
    assert {"bad_header", "attempts_exhausted"} <= causes
    assert causes - metrics.CAUSES == set()
