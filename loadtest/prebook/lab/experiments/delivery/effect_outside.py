"""Experiment: an effect inside and outside of the transaction that stores the message's id. Source: EIP, Transactional
Client."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import msgspec

from prebook.lab.experiments.delivery import mailing_receiver
from prebook.lab.experiments.delivery.mail_server import MailServer
from prebook.lab.experiments.delivery.mailing_receiver import MailingReceiverSpec
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.loopback_server import listen
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, effect_counts, message_names
from prebook.lab.experiments.patterns.size import (
    NO_DUPLICATE,
    NO_LOSS,
    PATTERN_OPTIONS,
    QUICK,
    PatternSize,
    effect_checks,
)
from prebook.messaging import addresses

RIGHT = "a row in the transaction"
WITH_KEY = "an e-mail with an idempotency key"
WRONG = "an e-mail without a key"
QUEUES = {WITH_KEY: "lab.effect.keyed", WRONG: "lab.effect.plain"}
KILLS = 3


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Kill a receiver right after some of its e-mails, before their transactions commit; with and without a key."""
    names = message_names(size.messages)
    async with PatternSite.open(run) as site:
        run.log(WRONG)
        rows, plain = await _handle(site, WRONG, names, size.defect)
        run.log(WITH_KEY)
        _, keyed = await _handle(site, WITH_KEY, names, SeededDefect.NONE)
    return Measurement(
        checks=[
            *effect_checks(RIGHT, names, rows),
            *effect_checks(WITH_KEY, names, keyed),
            *effect_checks(WRONG, names, plain, duplicates=LawVerdict.VIOLATED),
        ],
        tables=[_table(names, {RIGHT: rows, WITH_KEY: keyed, WRONG: plain})],
    )


async def _handle(
    site: PatternSite, arrangement: str, names: list[str], defect: SeededDefect
) -> tuple[Counter[str], Counter[str]]:
    """Return the rows and the e-mails of each message. The receiver is killed at KILLS of them, one after the other."""
    queue = QUEUES[arrangement]
    server = MailServer()
    victims = sorted(site.random.sample(names, KILLS))
    defective = site.random.choice([name for name in names if name not in victims])
    async with listen(server.handle) as url:
        plain = site.receiver_spec(arrangement, queue, defect=defect, defective_message=defective)
        spec = MailingReceiverSpec(**msgspec.structs.asdict(plain), mail_url=url, with_key=arrangement == WITH_KEY)
        await site.publish(addresses.REDELIVER, queue, names, arrangement)
        for victim in victims:
            async with server.hold(victim) as held, site.processes(mailing_receiver.run, spec) as (process,):

                async def is_sent(sent: asyncio.Event = held) -> bool:
                    return sent.is_set()

                await site.wait_until(is_sent, "the e-mail before the kill", [spec])
                process.kill()
                process.join()
        async with site.processes(mailing_receiver.run, spec):
            await site.wait_until_settled(arrangement, names, queue)
    return effect_counts(await site.read_effects(arrangement)), server.sent


def _table(names: list[str], counts: Mapping[str, Counter[str]]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Effects of messages whose receiver is killed between effect and commit",
        ("effect", "messages", "effects", "messages with more than one"),
        counts,
        lambda own: (len(names), own.total(), sum(count > 1 for count in own.values())),
        f"{KILLS} kills in each run; row and e-mail without a key belong to one run",
    )


EFFECT_OUTSIDE = Experiment(
    name="effect-outside",
    section=Section.DELIVERY,
    claims=("F12",),
    pattern="Transactional Client, Idempotent Receiver (EIP)",
    code="shared/prebook/postgres/unit_of_work.py",
    claim="An effect inside the transaction happens once; outside of it, only with an idempotency key at its target.",
    varies="whether the effect is a row or an e-mail, and whether that has a key; the receiver is killed on the way",
    law=f"{NO_LOSS}; {NO_DUPLICATE}",
    wrong_way="an e-mail is sent in the middle of the transaction, which is rolled back by a kill and repeated",
    expected="Rows and e-mails with a key are exact; without a key, each kill sends an e-mail twice.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=direct_queue(WITH_KEY, QUEUES[WITH_KEY], RECEIVER_SERVICES[0])
    | direct_queue(WRONG, QUEUES[WRONG], RECEIVER_SERVICES[0]),
    worker_modules=(mailing_receiver.__name__,),
)
