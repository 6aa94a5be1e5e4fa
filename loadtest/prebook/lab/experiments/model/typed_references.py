"""Experiment: wrong references in the typed model, found before the start, and as text, found by the broker."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import aio_pika
from aio_pika.exceptions import ChannelNotFoundEntity

from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.model.commands import ModelSize
from prebook.lab.experiments.model.wrong_references import RIGHT, TYPE_CHECKER, WRONG, type_errors

TYPED = "references are values of the model"
TEXT = "references are text"
FOUND = "wrong references found before the start = wrong references"
MISSPELT = ("prebook.evnets", "prebook.request", "Prebook.replies", "prebook events", "prebook.parkings")
"""Names of exchanges that do not exist."""


async def measure(run: ExperimentRun, _: ModelSize) -> Measurement:
    """Check the types of wrong references of the model and of misspelt text, and publish to what the text names."""
    wrong = [statement for statement, _ in WRONG.values()]
    text = [f'exchange_{number}: str = "{name}"' for number, name in enumerate(MISSPELT)]
    with TemporaryDirectory(prefix="prebook-lab-") as folder:
        run.log("checking the types of the references")
        found = await type_errors(Path(folder), [*RIGHT, *wrong, *text])
    run.log("publishing to exchanges that do not exist")
    refused = await _count_refused(run.testbed.stack.broker.amqp_url, MISSPELT)
    typed = ("found", sum(statement in found for statement in wrong))
    textual = ("found", sum(statement in found for statement in text))
    false_alarms = ("found in right references", sum(statement in found for statement in RIGHT))
    return Measurement(
        checks=[
            check_law(FOUND, TYPED, typed, Relation.EQUAL, ("wrong", len(wrong))),
            check_law("type errors in right references = 0", TYPED, false_alarms, Relation.EQUAL, ("", 0)),
            check_law(FOUND, TEXT, textual, Relation.EQUAL, ("wrong", len(text)), expected=LawVerdict.VIOLATED),
        ],
        tables=[
            ResultTable(
                title="Wrong references by the time at which they are found",
                columns=("references", "wrong", "by a type check", "by the broker, at run time (404)"),
                rows=(
                    (TYPED, str(len(wrong)), str(typed[1]), "-"),
                    (TEXT, str(len(text)), str(textual[1]), str(refused)),
                ),
            )
        ],
    )


async def _count_refused(amqp_url: str, exchanges: Sequence[str]) -> int:
    """Publish a message to each exchange; return how many the broker does not have."""
    refused = 0
    async with await aio_pika.connect(amqp_url) as connection:
        for name in exchanges:
            channel = await connection.channel()
            exchange = await channel.get_exchange(name, ensure=False)
            try:
                await exchange.publish(aio_pika.Message(b"{}"), "key")
            except ChannelNotFoundEntity:
                refused += 1
    return refused


TYPED_REFERENCES = Experiment(
    name="typed-references",
    section=Section.AUTOMATION,
    claims=("H2",),
    code="shared/prebook/topology/values.py",
    claim="With a typed model, a wrong reference is an error before the start, and no 404 at run time.",
    varies="the type of a reference",
    law=FOUND,
    wrong_way="names of exchanges as text, which only the broker refuses",
    expected="The type check finds every wrong reference of the model, and no misspelt text.",
    full=ModelSize(),
    quick=ModelSize(),
    measure=measure,
    prerequisites=(TYPE_CHECKER,),
)
