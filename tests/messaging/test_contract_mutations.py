"""The check of contracts against executed breakage, for generated changes of the real contracts."""

import os
from collections import Counter, defaultdict

import pytest

from prebook.messaging.compatibility import Compatibility, compare
from prebook.messaging.contract_snapshot import Snapshot, current_snapshot
from tests.conftest import Figure
from tests.messaging.contract_changes import EDITS, ContractChange, contract_changes
from tests.messaging.executed_breakage import breaks_backward, breaks_forward

SEED = int(os.environ.get("CONTRACT_SEED", "1"))
CHANGES = int(os.environ.get("CONTRACT_CHANGES", "100"))
MIN_SHARE = 0.95
DIRECTIONS = {
    "backward": (breaks_backward, {Compatibility.FORWARD, Compatibility.NONE}),
    "forward": (breaks_forward, {Compatibility.BACKWARD, Compatibility.NONE}),
}
"""Executed breakage, and the verdicts that predict it, by direction."""


def verdict_of(change: ContractChange) -> Compatibility:
    old, new = (Snapshot(messages={change.message: each}) for each in (change.old, change.new))
    return compare(old, new)[0].compatibility


@pytest.mark.parametrize("seed", [SEED])
def test_the_verdict_agrees_with_executed_breakage(seed: int, figure: Figure) -> None:
    counts: Counter[tuple[bool, bool]] = Counter()
    by_kind: defaultdict[str, Counter[str]] = defaultdict(Counter)
    misses: list[str] = []
    for number, change in enumerate(contract_changes(current_snapshot().messages, seed, CHANGES)):
        verdict = verdict_of(change)
        for direction, (breaks, predictions) in DIRECTIONS.items():
            predicted = verdict in predictions
            executed = breaks(change.old, change.new, seed + number)
            counts[predicted, executed] += 1
            by_kind[change.kind]["changes"] += direction == "backward"
            by_kind[change.kind][f"breaks {direction}"] += executed
            by_kind[change.kind]["wrong"] += predicted != executed
            if predicted != executed:
                misses.append(f"{change.kind} of {change.message}: {verdict}, {direction} executed: {executed}")
    precision = counts[True, True] / (counts[True, True] + counts[True, False])
    recall = counts[True, True] / (counts[True, True] + counts[False, True])
    for kind, counted in sorted(by_kind.items()):
        figure(f"seed {seed}: {kind}: {', '.join(f'{name} {n}' for name, n in counted.items())}")
    figure(
        f"seed {seed}: {CHANGES} changes, {counts.total()} verdicts, {counts[True, True] + counts[False, True]} breaks"
    )
    figure(f"seed {seed}: precision {precision:.3f}, recall {recall:.3f}")
    for miss in misses:
        figure(f"seed {seed}: missed: {miss}")
    assert len(by_kind) == len(EDITS)
    assert min(precision, recall) >= MIN_SHARE, misses
