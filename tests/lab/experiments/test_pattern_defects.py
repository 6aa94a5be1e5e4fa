"""Seeded defects: a mistake with one message makes exactly its law fail, on real servers."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from prebook.lab.experiments.claim_check.laws import RECEIVED
from prebook.lab.experiments.claim_check.registration import CLAIM_CHECK
from prebook.lab.experiments.delivery.acknowledgement_timeout import ACKNOWLEDGEMENT_TIMEOUT
from prebook.lab.experiments.delivery.deduplication_window import DEDUPLICATION_WINDOW
from prebook.lab.experiments.delivery.effect_outside import EFFECT_OUTSIDE
from prebook.lab.experiments.enricher.registration import ACCOUNTED, CONTENT_ENRICHER
from prebook.lab.experiments.experiment import Experiment
from prebook.lab.experiments.flow_control import valuable_messages
from prebook.lab.experiments.flow_control.back_pressure import ACCOUNTED as OFFERED
from prebook.lab.experiments.flow_control.back_pressure import BACK_PRESSURE
from prebook.lab.experiments.flow_control.campaign_tokens import CAMPAIGN_TOKENS, NOT_LESS
from prebook.lab.experiments.flow_control.messages_in_progress import MESSAGES_IN_PROGRESS
from prebook.lab.experiments.flow_control.traffic_shaping import TRAFFIC_SHAPING
from prebook.lab.experiments.inspection.registration import INSPECTION, SHOWN
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.normalizer.laws import PARKED
from prebook.lab.experiments.normalizer.registration import NORMALIZER
from prebook.lab.experiments.ordering.key_forwarding import KEY_FORWARDING
from prebook.lab.experiments.ordering.registration import COMPLETE
from prebook.lab.experiments.ordering.sweep import ORDER_SWEEP
from prebook.lab.experiments.patterns import (
    content_based_router,
    message_expiration,
    message_filter,
    publish_subscribe,
    wire_tap,
)
from prebook.lab.experiments.patterns.competing_consumers import COMPETING_CONSUMERS
from prebook.lab.experiments.patterns.guaranteed_delivery import DELIVERED, GUARANTEED_DELIVERY
from prebook.lab.experiments.patterns.idempotent_receiver import IDEMPOTENT_RECEIVER
from prebook.lab.experiments.patterns.message_history import MESSAGE_HISTORY, RECORDED
from prebook.lab.experiments.patterns.process_manager import PROCESS_MANAGER, SAME_OUTCOME
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.return_address import ANSWERED, RETURN_ADDRESS
from prebook.lab.experiments.patterns.size import NO_DUPLICATE, NO_LOSS
from prebook.lab.experiments.pipes import pipes_and_filters, push_rate
from prebook.lab.experiments.registry import EXPERIMENTS
from prebook.lab.experiments.result import ExperimentResult, ExperimentStatus
from prebook.lab.experiments.retries.hot_requeue import HOT_REQUEUE
from prebook.lab.experiments.retries.hot_requeue import PARKED as POISON_PARKED
from prebook.lab.experiments.retries.retry_schedule import EXACT_LAW, RETRY_SCHEDULE
from prebook.lab.experiments.runner import PlannedRun, run_planned
from prebook.lab.experiments.scatter_gather.laws import REPLIES
from prebook.lab.experiments.scatter_gather.registration import SCATTER_GATHER

TIMEOUT_S = 1_200.0
pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(TIMEOUT_S)]


@dataclass(frozen=True)
class SeededRun:
    """An experiment with a defect, and the law that it breaks."""

    experiment: Experiment[Any]
    defect: SeededDefect
    law: str


SEEDED_RUNS = (
    SeededRun(wire_tap.WIRE_TAP, SeededDefect.LOSE, wire_tap.TAPPED),
    SeededRun(IDEMPOTENT_RECEIVER, SeededDefect.LOSE, NO_LOSS),
    SeededRun(IDEMPOTENT_RECEIVER, SeededDefect.DOUBLE, NO_DUPLICATE),
    SeededRun(COMPETING_CONSUMERS, SeededDefect.LOSE, NO_LOSS),
    SeededRun(COMPETING_CONSUMERS, SeededDefect.DOUBLE, NO_DUPLICATE),
    SeededRun(publish_subscribe.PUBLISH_SUBSCRIBE, SeededDefect.LOSE, publish_subscribe.NO_MISS),
    SeededRun(publish_subscribe.PUBLISH_SUBSCRIBE, SeededDefect.DOUBLE, publish_subscribe.NO_REPEAT),
    SeededRun(RETURN_ADDRESS, SeededDefect.LOSE, ANSWERED),
    SeededRun(PROCESS_MANAGER, SeededDefect.LOSE, SAME_OUTCOME),
    SeededRun(message_expiration.MESSAGE_EXPIRATION, SeededDefect.LOSE, message_expiration.ACCOUNTED),
    SeededRun(GUARANTEED_DELIVERY, SeededDefect.LOSE, DELIVERED),
    SeededRun(MESSAGE_HISTORY, SeededDefect.LOSE, RECORDED),
    SeededRun(content_based_router.CONTENT_BASED_ROUTER, SeededDefect.LOSE, content_based_router.CONSERVED),
    SeededRun(message_filter.MESSAGE_FILTER, SeededDefect.LOSE, message_filter.CONSERVED),
    SeededRun(CONTENT_ENRICHER, SeededDefect.LOSE, ACCOUNTED),
    SeededRun(pipes_and_filters.PIPES_AND_FILTERS, SeededDefect.LOSE, pipes_and_filters.ACCOUNTED),
    SeededRun(push_rate.PUSH_RATE, SeededDefect.LOSE, push_rate.DELIVERED),
    SeededRun(CLAIM_CHECK, SeededDefect.LOSE, RECEIVED),
    SeededRun(SCATTER_GATHER, SeededDefect.LOSE, REPLIES),
    SeededRun(NORMALIZER, SeededDefect.LOSE, PARKED),
    SeededRun(RETRY_SCHEDULE, SeededDefect.LOSE, EXACT_LAW),
    SeededRun(EFFECT_OUTSIDE, SeededDefect.LOSE, NO_LOSS),
    SeededRun(EFFECT_OUTSIDE, SeededDefect.DOUBLE, NO_DUPLICATE),
    SeededRun(MESSAGES_IN_PROGRESS, SeededDefect.LOSE, NO_LOSS),
    SeededRun(TRAFFIC_SHAPING, SeededDefect.LOSE, NO_LOSS),
    SeededRun(valuable_messages.VALUABLE_MESSAGES, SeededDefect.LOSE, valuable_messages.ACCOUNTED),
    SeededRun(DEDUPLICATION_WINDOW, SeededDefect.LOSE, NO_LOSS),
    SeededRun(DEDUPLICATION_WINDOW, SeededDefect.DOUBLE, NO_DUPLICATE),
    SeededRun(ORDER_SWEEP, SeededDefect.LOSE, COMPLETE),
    SeededRun(KEY_FORWARDING, SeededDefect.LOSE, COMPLETE),
    SeededRun(ACKNOWLEDGEMENT_TIMEOUT, SeededDefect.LOSE, NO_LOSS),
    SeededRun(ACKNOWLEDGEMENT_TIMEOUT, SeededDefect.DOUBLE, NO_DUPLICATE),
    SeededRun(CAMPAIGN_TOKENS, SeededDefect.LOSE, NOT_LESS),
    SeededRun(HOT_REQUEUE, SeededDefect.LOSE, POISON_PARKED),
    SeededRun(BACK_PRESSURE, SeededDefect.LOSE, OFFERED),
    SeededRun(INSPECTION, SeededDefect.LOSE, SHOWN),
)


@pytest.fixture(scope="module")
def results() -> list[ExperimentResult]:
    planned = [
        PlannedRun(each.experiment, msgspec.structs.replace(each.experiment.quick, defect=each.defect), 7, TIMEOUT_S)
        for each in SEEDED_RUNS
    ]

    async def run_all() -> list[ExperimentResult]:
        async with aclosing(run_planned(planned, lambda _: None)) as measured:
            return [result async for result in measured]

    return asyncio.run(run_all())


def test_every_experiment_that_can_be_broken_is_broken() -> None:
    breakable = {each.name for each in EXPERIMENTS if "defect" in each.option_names}
    assert breakable == {each.experiment.name for each in SEEDED_RUNS}


@pytest.mark.parametrize(
    "number", range(len(SEEDED_RUNS)), ids=lambda n: f"{SEEDED_RUNS[n].experiment.name}-{SEEDED_RUNS[n].defect}"
)
def test_a_seeded_defect_makes_exactly_its_law_fail(number: int, results: list[ExperimentResult]) -> None:
    seeded = SEEDED_RUNS[number]
    result = results[number]
    assert result.status is ExperimentStatus.FAILED, result.problems
    assert [check.law for check in result.checks if not check.is_as_expected] == [seeded.law]
    assert all(check.verdict is LawVerdict.VIOLATED for check in result.checks if check.expected is LawVerdict.VIOLATED)
