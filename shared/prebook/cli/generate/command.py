"""`prebook generate`: the files, their differences from the checkout, and writing them."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from prebook.cli.generate.compose_file import MissingBlock, compose_file
from prebook.cli.topology import load_model, load_policies, load_subscriptions, policies_option
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import replace_file
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import echo
from prebook.kubernetes.generation.files import generated_files, tree_differences, write_files
from prebook.kubernetes.suite_model import read_suite_model
from prebook.messaging.policy import default_plan
from prebook.rabbit.definitions import broker_definitions
from prebook.runtime.paths import checkout_dir
from prebook.text_file import read_text
from prebook.topology.asyncapi import asyncapi_document
from prebook.topology.pictures import committed_pictures

COMPOSE_FILE = "docker-compose.yml"
PICTURES = "docs/pictures"
ASYNCAPI_FILE = "docs/reference/asyncapi.json"
DEFINITIONS_FILE = "docs/reference/broker-definitions.json"
MANIFESTS = "deploy/kubernetes"
FILE_MODE = 0o644
"""Mode of a new file: everybody may read what is committed."""
REMEDY = "run `prebook generate`, and review the differences"


@click.command(
    epilog=examples(
        "prebook generate", "prebook generate --check           exit status 1 on a difference; writes nothing"
    )
)
@click.option("--check", "check_only", is_flag=True, help="Write nothing; name the files that differ, and exit with 1.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=checkout_dir,
    show_default="this checkout",
    help="Folder of the checkout.",
)
@policies_option
@json_option()
def generate(*, check_only: bool, root: Path, policies_path: Path, as_json: bool) -> None:
    """Write every file that follows from the model.

    These are the pictures, the AsyncAPI document, the broker's definitions, the lines of docker-compose.yml for each
    service and flow, and the Kubernetes manifests.
    """
    texts = model_files(root, policies_path)
    manifests = generated_files(root / MANIFESTS, read_suite_model(policies_path, root / MANIFESTS / "cluster.toml"))
    changed = [path for path, text in texts.items() if _read(root / path) != text]
    if check_only:
        differences = tree_differences(root / MANIFESTS, manifests)
    else:
        _write(root, {path: texts[path] for path in changed})
        differences = write_files(root / MANIFESTS, manifests)
    found = sorted([*changed, *(f"{MANIFESTS}/{line}" for line in differences)])
    count = len(texts) + len(manifests)
    if as_json:
        echo(json.dumps({"files": count, "differences" if check_only else "written": found}))
    elif check_only:
        echo("\n".join([*found, REMEDY]) if found else f"{count} files are as the model says")
    else:
        echo("\n".join([*found, f"{count} files follow from the model; {len(found)} changed"]))
    sys.exit(1 if check_only and found else 0)


def model_files(root: Path, policies_path: Path) -> dict[str, str]:
    """Return the text of each generated file by its path below ``root``, without the manifests. Raises UserError."""
    suite = load_model(policies_path)
    plan = default_plan(load_policies(policies_path))
    pictures = committed_pictures(plan, suite, load_subscriptions(policies_path))
    return {
        **{f"{PICTURES}/{name}": text for name, text in pictures.items()},
        ASYNCAPI_FILE: _json(asyncapi_document(suite)),
        DEFINITIONS_FILE: _json(broker_definitions(suite)),
        COMPOSE_FILE: _compose_file(root / COMPOSE_FILE),
    }


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def _compose_file(path: Path) -> str:
    text = _read(path)
    if text is None:
        raise UserError(f"there is no {path}", "run it in a checkout, or name one: --root FOLDER")
    try:
        return compose_file(text)
    except MissingBlock as error:
        raise UserError(f"{path}: {error}", "restore the lines, then run it again") from error


def _read(path: Path) -> str | None:
    try:
        return read_text(path)
    except OSError:
        return None


def _write(root: Path, texts: Mapping[str, str]) -> None:
    try:
        for path, text in texts.items():
            replace_file(root / path, text, mode=FILE_MODE)
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename}: {error}", "make the folder writable, then run it again"
        ) from error
