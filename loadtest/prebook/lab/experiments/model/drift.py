"""Experiment: a change by hand on the live broker is a difference from the model, which declaring repairs."""

import aio_pika

from prebook.flows import SERVICES
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.model.commands import ModelSize
from prebook.messaging import addresses
from prebook.messaging.policy import retry_delays_s
from prebook.rabbit.management import ManagementClient
from prebook.runtime.settings import read_settings
from prebook.topology.check import Difference, differences
from prebook.topology.model import suite_topology
from prebook.topology.values import Topology

DECLARED = "declared from the model"
REPAIRED = "declared again"
CHANGED = "changed by hand on the broker"
IN_SYNC = "differences between broker and model = 0"
VHOST = "prebook-drift"
"""A virtual host of its own, because other experiments leave queues in the suite's."""
DELETED_QUEUE = addresses.request_queue("pricing", "quote_fare")


async def measure(run: ExperimentRun, _: ModelSize) -> Measurement:
    """Delete a queue of the broker by hand, compare, and declare the model again."""
    _given, policies = read_settings(run.testbed.context.envs[SERVICES[0]])
    model = suite_topology(retry_delays_s(policies))
    broker = run.testbed.stack.broker
    async with ManagementClient(broker.management_url, broker.user, broker.password, vhost=VHOST) as management:
        try:
            await management.declare(model, {})
            before = await _compare(management, model)
            run.log(f"deleting {DELETED_QUEUE}")
            await _delete_by_hand(broker.amqp_url)
            changed = await _compare(management, model)
            await management.declare(model, {})
            repaired = await _compare(management, model)
        finally:
            await management.delete_vhost()
    found = {DECLARED: before, CHANGED: changed, REPAIRED: repaired}
    verdicts = dict.fromkeys(found, LawVerdict.HELD) | {CHANGED: LawVerdict.VIOLATED}
    return Measurement(
        checks=[
            check_law(IN_SYNC, name, ("differences", len(each)), Relation.EQUAL, ("", 0), expected=verdicts[name])
            for name, each in found.items()
        ],
        tables=[
            ResultTable(
                title="Differences, with their remedies",
                columns=("after", "difference"),
                rows=tuple((name, str(each)) for name, listed in found.items() for each in listed),
            )
        ],
    )


async def _delete_by_hand(amqp_url: str) -> None:
    async with await aio_pika.connect(f"{amqp_url.rpartition('/')[0]}/{VHOST}") as connection:
        await (await connection.channel()).queue_delete(DELETED_QUEUE)


async def _compare(management: ManagementClient, model: Topology) -> list[Difference]:
    return differences(model, await management.read_live_broker(), frozenset({management.user}))


DRIFT = Experiment(
    name="drift",
    section=Section.AUTOMATION,
    claims=("A2",),
    code="shared/prebook/topology/check.py",
    claim="Integration belongs to the application: the model declares the broker, and drift is found.",
    varies="who changed the broker",
    law=IN_SYNC,
    wrong_way="a queue is deleted by hand",
    expected="The missing queue and its bindings are named with the remedy, and declaring again repairs them.",
    full=ModelSize(),
    quick=ModelSize(),
    measure=measure,
)
