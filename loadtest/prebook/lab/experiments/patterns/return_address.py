"""Experiment: Return Address and Correlation Identifier. Source: EIP, Return Address, Correlation Identifier."""

from collections.abc import Iterable, Mapping

from prebook.flows import ALL_FLOWS
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import conversation
from prebook.lab.experiments.patterns.conversation import (
    REQUESTERS,
    SHARED_QUEUE,
    ConversationSpec,
    ReplyMatching,
)
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite, QuietPeriod
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, PatternSize
from prebook.topology.model import plan_topology

RIGHT = "an own reply queue and the request's id"
WRONG = "one reply queue, replies matched by arrival"
ARRANGEMENTS = {RIGHT: ReplyMatching.ADDRESSED, WRONG: ReplyMatching.BY_ARRIVAL}
OWN = "replies that another requester has received = 0"
MATCHED = "replies taken for the answer to another request = 0"
ANSWERED = "requests without a reply = 0"
Replies = Mapping[str, list[tuple[str, str]]]
"""Requester -> the request that each of its replies was taken for, and the one that it answers."""


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Let two requesters send requests to a replier that is killed and restarted; with either way of matching."""
    replies = {}
    async with PatternSite.open(run) as site:
        for arrangement, matching in ARRANGEMENTS.items():
            run.log(arrangement)
            defect = size.defect if arrangement == RIGHT else SeededDefect.NONE
            replies[arrangement] = await _converse(site, matching, size.messages, defect)
    return Measurement(
        checks=[
            *reply_checks(RIGHT, replies[RIGHT], LawVerdict.HELD),
            answer_check(RIGHT, replies[RIGHT], size.messages),
            *reply_checks(WRONG, replies[WRONG], LawVerdict.VIOLATED),
        ],
        tables=[_table(size.messages, replies)],
    )


def reply_checks(arrangement: str, replies: Replies, expected: LawVerdict) -> Iterable[LawCheck]:
    """Yield the checks that replies reach their requester, and are taken for the answer to their request."""
    strayed = sum(not answered.startswith(f"{own}-") for own, pairs in replies.items() for _, answered in pairs)
    mismatched = sum(asked != answered for pairs in replies.values() for asked, answered in pairs)
    yield check_law(OWN, arrangement, ("strayed", strayed), Relation.EQUAL, ("", 0), expected=expected)
    yield check_law(MATCHED, arrangement, ("mismatched", mismatched), Relation.EQUAL, ("", 0), expected=expected)


def answer_check(arrangement: str, replies: Replies, requests: int) -> LawCheck:
    """Return the check that every request of every requester has a reply."""
    unanswered = sum(requests - len({asked for asked, _ in pairs}) for pairs in replies.values())
    return check_law(ANSWERED, arrangement, ("unanswered", unanswered), Relation.EQUAL, ("", 0))


async def _converse(site: PatternSite, matching: ReplyMatching, requests: int, defect: SeededDefect) -> Replies:
    """Kill the replier on the way, and restart it. Its unacknowledged requests are replied to again."""
    requesters = {service: _spec(site, matching, service, requests) for service in REQUESTERS}
    names = [f"{service}-{number:04}" for service in REQUESTERS for number in range(requests)]
    omitted = site.random.choice(names) if defect is SeededDefect.LOSE else ""
    replier = _spec(site, matching, "", requests, omitted)
    kill_after = site.random.uniform(0.2, 0.5) * len(names)

    def count() -> int:
        return sum(len(spec.read_replies()) for spec in requesters.values())

    async def has_replied() -> bool:
        return count() >= kill_after

    async with site.processes(conversation.run, *requesters.values()):
        async with site.processes(conversation.run, replier) as (process,):
            await site.wait_until(has_replied, f"{matching}: replies")
            process.kill()
            process.join()
        async with site.processes(conversation.run, replier):
            quiet = QuietPeriod()

            async def is_complete() -> bool:
                return count() >= len(names) or quiet.is_over(count())

            await site.wait_until(is_complete, f"{matching}: a reply to each request")
    return {service: spec.read_replies() for service, spec in requesters.items()}


def _spec(
    site: PatternSite, matching: ReplyMatching, service: str, requests: int, omitted: str = ""
) -> ConversationSpec:
    context = site.run.testbed.context
    stem = context.work_dir / f"conversation-{matching}-{service or 'replier'}"
    return ConversationSpec(
        matching=matching,
        service=service,
        requests=requests,
        amqp_url=site.amqp_url,
        env=context.envs[service or "pricing"],
        ready_path=f"{stem}.ready",
        result_path=f"{stem}-{site.token}.replies",
        log_file=f"{stem}.log",
        omitted=omitted,
    )


def _table(requests: int, replies: Mapping[str, Replies]) -> ResultTable:
    def cells(own: Replies) -> tuple[int, ...]:
        pairs = [pair for each in own.values() for pair in each]
        return requests * len(own), len(pairs), sum(asked != answered for asked, answered in pairs)

    return ResultTable.by_arrangement(
        "Replies to two requesters",
        ("arrangement", "requests", "replies matched", "with another request"),
        replies,
        cells,
        "the replier works on several requests at a time; it is killed on the way and restarted",
    )


RETURN_ADDRESS = Experiment(
    name="return-address",
    section=Section.PATTERNS,
    claims=("C4",),
    pattern="Return Address; Correlation Identifier (EIP)",
    code="shared/prebook/coupling/request_reply.py",
    claim="With a return address and the request's id in the reply, every reply finds its requester and its request.",
    varies="whether replies are addressed and correlated; the replier is killed and restarted",
    law=f"{OWN}; {MATCHED}; {ANSWERED}",
    wrong_way="all replies share one queue, and a reply is taken for the answer to the oldest open request",
    expected="Addressed and correlated, no reply is mismatched; by arrival, most are.",
    full=PatternSize(messages=300),
    quick=PatternSize(messages=50),
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=direct_queue(WRONG, SHARED_QUEUE, "booking")
    | plan_topology(conversation.PLAN, [flow for flow in ALL_FLOWS if flow.name in REQUESTERS.values()], ()),
    worker_modules=(conversation.__name__,),
)
