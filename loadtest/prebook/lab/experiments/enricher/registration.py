"""Experiment: Content Enricher. Source: EIP, Content Enricher."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from prebook.devstack.ports import allocate_ports
from prebook.lab.experiments.enricher import profile_store, receiver
from prebook.lab.experiments.enricher.profile_store import LOOKUP_MS, ProfileStoreSpec
from prebook.lab.experiments.enricher.receiver import RIDERS, SERVICE, EnrichingReceiverSpec
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite, QuietPeriod, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, PatternSize
from prebook.messaging import addresses
from prebook.messaging.headers import CONVERSATION_ID_HEADER
from prebook.patterns.enricher import AbsencePolicy, EnrichmentOutcome
from prebook.rabbit.amqp_message import from_amqp
from prebook.topology.model import union

MAX_AGE_S = 0.15
"""Age above which no profile of the cache is used, in seconds."""
PREFETCH = 8
WORK_MS = 80.0
"""Time that a message takes besides its lookup while policies are tested: long enough to kill the store midway."""
BEFORE = "before"
INSIDE = "inside"
ACCOUNTED = "messages in = enriched + skipped + parked"
YOUNG = "profiles older than the cache allows = 0"
ALLOWED = "messages with an outcome that the policy does not allow = 0"
UNLOCKED = "lookups made while the row of their message is locked = 0"
ALLOWED_OUTCOMES = {
    AbsencePolicy.WAIT: {EnrichmentOutcome.ENRICHED},
    AbsencePolicy.SKIP: {EnrichmentOutcome.ENRICHED, EnrichmentOutcome.SKIPPED},
    AbsencePolicy.PARK: {EnrichmentOutcome.ENRICHED, EnrichmentOutcome.PARKED},
}
ARRANGEMENTS: Mapping[str, str] = {
    AbsencePolicy.WAIT: "store killed, messages wait",
    AbsencePolicy.SKIP: "store killed, messages go on without the profile",
    AbsencePolicy.PARK: "store killed, messages are parked",
    BEFORE: "lookup before the transaction",
    INSIDE: "lookup inside the transaction",
}
"""Name of each arrangement by the short name that its queue has."""
CREATE_TABLES = """
    CREATE TABLE pricing.enriched (run text, message text, begun_at timestamptz, ended_at timestamptz, outcome text,
        age_s float, locked_ms float, PRIMARY KEY (run, message));
    CREATE TABLE pricing.lookup (nr bigint GENERATED ALWAYS AS IDENTITY, run text, message text, locked boolean);
    CREATE TABLE pricing.campaign_row (quotes int);
    INSERT INTO pricing.campaign_row VALUES (0)"""
INSERT_MESSAGES = "INSERT INTO pricing.enriched (run, message) SELECT $1, unnest($2::text[])"
SELECT_OUTCOMES = "SELECT * FROM pricing.enriched WHERE run = $1 AND outcome IS NOT NULL"
SELECT_LOOKUPS = "SELECT locked FROM pricing.lookup WHERE run = $1"


@dataclass(frozen=True, kw_only=True)
class EnrichmentFacts:
    """Facts about one arrangement, from the tables and the parking queue."""

    received: int
    outcomes: Mapping[str, int]
    """Number of messages by outcome."""
    ages_s: Sequence[float]
    lookups: int
    locked: int
    """Lookups during which the row of their message was locked."""
    locked_ms: float
    """Mean milliseconds from the moment when a transaction has its locks until it saves the outcome."""
    per_s: float
    """Messages with an outcome per second."""


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Kill the store under each policy; then compare lookups before and inside the transaction."""
    facts: dict[str, EnrichmentFacts] = {}
    async with PatternSite.open(run) as site:
        await site.database.execute(CREATE_TABLES)
        for arrangement, name in ARRANGEMENTS.items():
            run.log(name)
            facts[arrangement] = await _enrich(site, arrangement, size)
    checks = [check for policy in AbsencePolicy for check in policy_checks(policy, facts[policy])]
    return Measurement(
        checks=[
            *checks,
            lock_check(BEFORE, facts[BEFORE], LawVerdict.HELD),
            lock_check(INSIDE, facts[INSIDE], LawVerdict.VIOLATED),
        ],
        tables=[_table(facts)],
    )


def policy_checks(policy: AbsencePolicy, facts: EnrichmentFacts) -> Iterable[LawCheck]:
    """Yield the checks of an arrangement whose store is killed."""
    name = ARRANGEMENTS[policy]
    forbidden = sum(count for outcome, count in facts.outcomes.items() if outcome not in ALLOWED_OUTCOMES[policy])
    old = sum(age_s > MAX_AGE_S for age_s in facts.ages_s)
    received = ("in", facts.received)
    yield check_law(ACCOUNTED, name, received, Relation.EQUAL, ("sum", sum(facts.outcomes.values())))
    yield check_law(ALLOWED, name, ("with another outcome", forbidden), Relation.EQUAL, ("", 0))
    yield check_law(YOUNG, name, ("too old", old), Relation.EQUAL, ("", 0))


def lock_check(arrangement: str, facts: EnrichmentFacts, expected: LawVerdict) -> LawCheck:
    """Return the check that no lookup holds a lock."""
    locked = ("locked", facts.locked)
    return check_law(UNLOCKED, ARRANGEMENTS[arrangement], locked, Relation.EQUAL, ("", 0), expected=expected)


async def _enrich(site: PatternSite, arrangement: str, size: PatternSize) -> EnrichmentFacts:
    """Send all messages, kill the store midway if a policy is tested, and start it again if they wait for it."""
    names = message_names(size.messages)
    queue = queue_of(arrangement)
    (port,) = allocate_ports(1)
    stem = site.run.testbed.context.work_dir / f"{queue}-{site.token}"
    store = ProfileStoreSpec(
        port=port,
        database_url=site.run.testbed.context.database_url,
        ready_path=f"{stem}.store.ready",
        log_file=f"{stem}.store.log",
    )
    spec = _receiver_spec(site, arrangement, size, f"http://127.0.0.1:{port}")
    await site.database.execute(INSERT_MESSAGES, arrangement, names)
    ended = _Ended(site, arrangement, names)
    async with site.processes(receiver.run, spec):
        async with site.processes(profile_store.run, store) as (process,):
            await site.publish(addresses.REDELIVER, queue, names, arrangement)
            if arrangement in set(AbsencePolicy):
                await ended.wait_for(site.random.uniform(0.2, 0.5) * len(names))
                process.kill()
                process.join()
            else:
                await ended.wait_for(len(names))
        if arrangement == AbsencePolicy.WAIT:
            async with site.processes(profile_store.run, store):
                await ended.wait_for(len(names))
        await ended.wait_for(len(names))
    return await _facts(site, arrangement, names, await ended.collect_parked())


def queue_of(arrangement: str) -> str:
    """Return the queue of an arrangement."""
    return f"lab.enricher.{arrangement}"


def _receiver_spec(site: PatternSite, arrangement: str, size: PatternSize, store_url: str) -> EnrichingReceiverSpec:
    is_policy = arrangement in set(AbsencePolicy)
    wait_with_defect = arrangement == AbsencePolicy.WAIT
    plain = site.receiver_spec(
        arrangement,
        queue_of(arrangement),
        service=SERVICE,
        prefetch=PREFETCH,
        work_ms=WORK_MS if is_policy else 0.0,
        defect=size.defect if wait_with_defect else SeededDefect.NONE,
        defective_message=site.random.choice(message_names(size.messages)),
    )
    return EnrichingReceiverSpec(
        **msgspec.structs.asdict(plain),
        store_url=store_url,
        policy=AbsencePolicy(arrangement) if is_policy else AbsencePolicy.WAIT,
        max_age_s=MAX_AGE_S if is_policy else 0.0,
        inside=arrangement == INSIDE,
    )


class _Ended:
    """Messages of an arrangement that have an outcome, in the table or in the parking queue."""

    def __init__(self, site: PatternSite, arrangement: str, names: Sequence[str]) -> None:
        self._site = site
        self._arrangement = arrangement
        self._names = frozenset(names)
        self._parked: set[str] = set()

    async def wait_for(self, count: float) -> None:
        """Wait until so many messages have an outcome; where one is lost, until nothing changes. Raises UserError."""
        quiet = QuietPeriod()

        async def have_ended() -> bool:
            rows = await self._site.database.fetch(SELECT_OUTCOMES, self._arrangement)
            ended = len({row["message"] for row in rows} | await self.collect_parked())
            if ended >= count:
                return True
            return quiet.is_over(ended) and not await self._site.count_ready(queue_of(self._arrangement))

        await self._site.wait_until(have_ended, f"{self._arrangement}: the outcomes of {count:.0f} messages")

    async def collect_parked(self) -> set[str]:
        """Take all messages out of the parking queue; return the names of all that were in it so far."""
        channel = await self._site.broker.channel()
        queue = await channel.get_queue(addresses.PARKING_QUEUE, ensure=False)
        while message := await queue.get(no_ack=True, fail=False):
            self._parked.add(from_amqp(message).headers[CONVERSATION_ID_HEADER])
        await channel.close()
        return self._parked


async def _facts(site: PatternSite, arrangement: str, names: Sequence[str], parked: Iterable[str]) -> EnrichmentFacts:
    rows = await site.database.fetch(SELECT_OUTCOMES, arrangement)
    locked = [row["locked"] for row in await site.database.fetch(SELECT_LOOKUPS, arrangement)]
    outcomes = Counter(row["outcome"] for row in rows)
    outcomes[EnrichmentOutcome.PARKED] += len(set(parked))
    ended = sorted(row["ended_at"] for row in rows)
    seconds = (ended[-1] - ended[0]).total_seconds() if ended else 0.0
    return EnrichmentFacts(
        received=len(names),
        outcomes={outcome: count for outcome, count in outcomes.items() if count},
        ages_s=[row["age_s"] for row in rows if row["age_s"] is not None],
        lookups=len(locked),
        locked=sum(locked),
        locked_ms=sum(row["locked_ms"] for row in rows) / len(rows) if rows else 0.0,
        per_s=(len(ended) - 1) / seconds if seconds else 0.0,
    )


def _table(facts: Mapping[str, EnrichmentFacts]) -> ResultTable:
    def cells(own: EnrichmentFacts) -> Iterable[object]:
        outcomes = (own.outcomes.get(outcome, 0) for outcome in EnrichmentOutcome)
        return own.received, *outcomes, own.lookups, own.locked, f"{own.locked_ms:.1f}", f"{own.per_s:.0f}"

    return ResultTable.by_arrangement(
        "Messages by the outcome of their enrichment",
        (
            "arrangement",
            "in",
            "enriched",
            "skipped",
            "parked",
            "lookups",
            "locked",
            "ms from lock to save",
            "messages/s",
        ),
        {ARRANGEMENTS[arrangement]: own for arrangement, own in facts.items()},
        cells,
        f"a lookup takes {LOOKUP_MS:g} ms; {RIDERS} riders; a profile is reused for {MAX_AGE_S:g} s, and "
        "not at all in the last two arrangements",
    )


CONTENT_ENRICHER = Experiment(
    name="content-enricher",
    section=Section.PATTERNS,
    claims=("D6",),
    pattern="Content Enricher (EIP)",
    code="shared/prebook/patterns/enricher.py",
    claim="A message whose content cannot be looked up waits, goes on without it or is parked, as the policy says.",
    varies="the policy while the store of the content is killed, and whether the lookup is inside the transaction",
    law=f"{ACCOUNTED}; {ALLOWED}; {YOUNG}; {UNLOCKED}",
    wrong_way="a lookup inside the transaction, which holds its locks for as long as the store takes",
    expected="No policy loses a message. A lookup inside the transaction holds locks, and slows all messages.",
    full=PatternSize(),
    quick=PatternSize(messages=120),
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=union(direct_queue(name, queue_of(arrangement), SERVICE) for arrangement, name in ARRANGEMENTS.items()),
    worker_modules=(receiver.__name__, profile_store.__name__),
)
