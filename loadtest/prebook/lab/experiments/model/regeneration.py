"""Experiment: everything that follows from the model is deleted, written again and compared with what is committed."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.model.commands import CHECKOUT, COMMITTED_FILES, ModelSize, run_prebook

RIGHT = "written again from the model"
WRONG = "one manifest edited by hand"
UNCHANGED = "files that differ from the model = 0"
COPIED = ("docs/pictures", "docs/reference", "deploy/kubernetes")
DELETED = (
    "docs/pictures",
    "docs/reference",
    "deploy/kubernetes/components/topology",
    "deploy/kubernetes/base/services",
)
EDITED = "deploy/kubernetes/components/topology/policies.yaml"
LIMIT = "max-length: 50000"


async def measure(run: ExperimentRun, _: ModelSize) -> Measurement:
    """Delete generated files of a copy and write them again; then edit one of them."""
    with TemporaryDirectory(prefix="prebook-lab-") as folder:
        copy = Path(folder)
        for path in COPIED:
            shutil.copytree(CHECKOUT / path, copy / path)
        shutil.copy(CHECKOUT / "docker-compose.yml", copy)
        for path in DELETED:
            shutil.rmtree(copy / path)
        run.log("prebook generate")
        files = json.loads((await run_prebook("generate", "--root", folder, "--json")).stdout)
        differing = [path for path in files["written"] if _text(copy / path) != _text(CHECKOUT / path)]
        manifest = copy / EDITED
        manifest.write_text(manifest.read_text().replace(LIMIT, "max-length: 5", 1))
        run.log("prebook generate --check")
        edited = json.loads((await run_prebook("generate", "--root", folder, "--check", "--json")).stdout)
    wrong = ("differing", len(edited["differences"]))
    return Measurement(
        checks=[
            check_law(UNCHANGED, RIGHT, ("differing", len(differing)), Relation.EQUAL, ("", 0)),
            check_law(UNCHANGED, WRONG, wrong, Relation.EQUAL, ("", 0), expected=LawVerdict.VIOLATED),
        ],
        tables=[
            ResultTable(
                title="Files that follow from the model",
                columns=("files", "deleted and written again", "found after the edit"),
                rows=((str(files["files"]), str(len(files["written"])), ", ".join(edited["differences"])),),
            )
        ],
    )


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


REGENERATION = Experiment(
    name="regeneration",
    section=Section.AUTOMATION,
    claims=("H1", "A2"),
    code="shared/prebook/cli/generate/command.py",
    claim="Automation is more than provisioning: one model writes pictures, documents and manifests.",
    varies="who wrote the files",
    law=UNCHANGED,
    wrong_way="a limit is changed by hand in one manifest",
    expected="All files are written again without a difference, and the edited one is named.",
    full=ModelSize(),
    quick=ModelSize(),
    measure=measure,
    prerequisites=(COMMITTED_FILES,),
)
