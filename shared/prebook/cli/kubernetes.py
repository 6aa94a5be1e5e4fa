"""`prebook kubernetes`: write the manifests that follow from the model, and check all of them against it."""

import json
import sys
from pathlib import Path

import rich_click as click

from prebook.cli.topology import policies_option
from prebook.devstack.command_line import examples
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import echo
from prebook.kubernetes.generation.files import generated_files, tree_differences, write_files
from prebook.kubernetes.suite_model import read_suite_model
from prebook.runtime.paths import kubernetes_dir

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=kubernetes_dir,
    show_default="deploy/kubernetes",
    help="Folder of the manifests, with cluster.toml.",
)


@click.group()
def kubernetes() -> None:
    """Write the manifests that follow from the model, and check all of them against it. No cluster is needed."""


@kubernetes.command(
    epilog=examples(
        "prebook kubernetes generate", "prebook kubernetes generate --check    exit status 1 on a difference"
    )
)
@click.option("--check", "check_only", is_flag=True, help="Write nothing; name the files that differ, and exit with 1.")
@policies_option
@root_option
@json_option()
def generate(*, check_only: bool, policies_path: Path, root: Path, as_json: bool) -> None:
    """Write exchanges, queues, bindings, users, permissions, network policies, scalers, accounts and workloads."""
    files = generated_files(root, read_suite_model(policies_path, root / "cluster.toml"))
    found = tree_differences(root, files) if check_only else write_files(root, files)
    if as_json:
        echo(json.dumps({"files": len(files), "differences" if check_only else "written": found}))
    elif not check_only:
        echo("\n".join([*found, f"{len(files)} files follow from the model; {len(found)} changed"]))
    else:
        remedy = "run `prebook kubernetes generate`, and review the difference"
        echo("\n".join([*found, remedy]) if found else f"{len(files)} files are as the model says")
    sys.exit(1 if check_only and found else 0)
