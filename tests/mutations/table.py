"""Print what the judge says about seeded defects: `python -m tests.mutations.table [RUN ...]`."""

import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.mutations.judge_runs import CONTROLS, JUDGE_RUNS, JudgeRun, run_judge


def main(chosen: Collection[str]) -> None:
    """Run the chosen runs, or all of them, one suite after the other, and print each verdict as it is there."""
    for run in (*CONTROLS, *JUDGE_RUNS):
        if not chosen or run.name in chosen:
            sys.stdout.writelines(f"{line}\n" for line in lines_of(run))
            sys.stdout.flush()


def lines_of(run: JudgeRun) -> Iterator[str]:
    """Run the judge on a suite, whose files are removed afterwards; yield each defect and what the judge said."""
    with tempfile.TemporaryDirectory(prefix="prebook-mutation-") as home:
        verdict = run_judge(run, Path(home))
    yield f"{run.name}: exit status {verdict.status}, {len(verdict.violations)} violations"
    for defect in run.defects:
        found = verdict.find(defect)
        example = f"such as: {found[0].detail}" if found else "MISSED"
        yield f"  {defect.name}: {len(found)} {defect.kind}, {example}"
    if verdict.status and not run.defects:
        yield verdict.output


if __name__ == "__main__":
    main(sys.argv[1:])
