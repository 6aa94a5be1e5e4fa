"""`prebook kubernetes`: write the manifests that follow from the model, and check all of them against it."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec
import rich_click as click

from prebook.cli.topology import policies_option
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import echo
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.overlay import check_documents, check_overlay, read_check_context
from prebook.kubernetes.checks.schemas import read_schema_folder
from prebook.kubernetes.documents import InvalidYaml, load_documents, without_secret_values
from prebook.kubernetes.generation.files import generated_files, tree_differences, write_files
from prebook.kubernetes.suite_model import OVERLAYS, read_suite_model
from prebook.runtime.paths import kubernetes_dir

SCHEMAS_REMEDY = "set PREBOOK_CRD_SCHEMAS to their folder, such as deploy/kubernetes/schemas"

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


@kubernetes.command(
    epilog=examples(
        "prebook kubernetes check",
        "kubectl kustomize deploy/kubernetes/overlays/plain | prebook kubernetes check --overlay plain --rendered -",
    )
)
@click.option(
    "--overlay",
    "overlay_names",
    multiple=True,
    type=click.Choice(list(OVERLAYS)),
    help="Check only this overlay; repeatable.",
)
@click.option(
    "--rendered",
    type=click.File(),
    help="Check these rendered documents of the overlay instead of rendering its folder; - is stdin.",
)
@click.option(
    "--schemas",
    "schemas_path",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="PREBOOK_CRD_SCHEMAS",
    help="Folder of the JSON Schemas of all kinds. [default: $PREBOOK_CRD_SCHEMAS]",
)
@policies_option
@root_option
@json_option()
def check(
    *,
    overlay_names: tuple[str, ...],
    rendered: TextIO | None,
    schemas_path: Path | None,
    policies_path: Path,
    root: Path,
    as_json: bool,
) -> None:
    """Check every overlay against schemas, the model and the rules, and print all errors at once. Needs no cluster.

    Exit status 1 if anything is wrong, or if something could not be checked.
    """
    overlays = [OVERLAYS[name] for name in overlay_names or OVERLAYS]
    if rendered is not None and len(overlays) != 1:
        raise click.UsageError("--rendered needs to know what it is: name one --overlay")
    model = read_suite_model(policies_path, root / "cluster.toml")
    schemas = read_schema_folder(schemas_path) if schemas_path else None
    found: dict[str, list[Finding]] = {}
    for parts in overlays:
        context = read_check_context(root, model, parts, schemas)
        if rendered is None:
            found[parts.name] = check_overlay(root / "overlays" / parts.name, context)
        else:
            found[parts.name] = check_documents(_read_rendered(rendered), context)
    _print_findings(found, has_schemas=schemas is not None, as_json=as_json)
    sys.exit(1 if schemas is None or any(found.values()) else 0)


def _read_rendered(file: TextIO) -> list[dict[str, Any]]:
    """Return the documents of a file, without the values of Secrets. Raises UserError."""
    try:
        documents = load_documents(file.read())
    except InvalidYaml as error:
        raise UserError(f"{file.name}: {error}", "give the output of `kubectl kustomize`") from error
    return [without_secret_values(document) for document in documents]


def _print_findings(found: Mapping[str, Sequence[Finding]], *, has_schemas: bool, as_json: bool) -> None:
    if as_json:
        unchecked = [] if has_schemas else [CheckStep.SCHEMA]
        echo(msgspec.json.encode({"findings": found, "not_checked": unchecked}))
        return
    for name, findings in found.items():
        for finding in findings:
            echo(f"{name}: {finding}")
    if not has_schemas:
        echo(f"not checked: the schemas of the documents; {SCHEMAS_REMEDY}")
    count = sum(map(len, found.values()))
    echo(f"{', '.join(found)}: {count or 'no'} error{'' if count == 1 else 's'}")
