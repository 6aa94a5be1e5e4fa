"""One command writes every file that follows from the model, and names each one that differs."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prebook.cli.generate.compose_file import BLOCKS, MissingBlock, compose_file
from prebook.cli.main import main
from prebook.flows import FLOWS, PROCESSES, SERVICES
from prebook.messaging import addresses
from prebook.rabbit.definitions import broker_definitions
from prebook.rabbit.management import ManagementClient
from prebook.topology.check import differences
from prebook.topology.values import Topology
from tests.topology.conftest import PASSWORDS, VHOST

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
CHANGES = {
    "docs/pictures/one_way.svg": ("prebook.events", "prebook.other"),
    "docs/pictures/resources.svg": ("prebook.parking", "prebook.other"),
    "docs/reference/asyncapi.json": ("fare_quoted", "fare_quote"),
    "docs/reference/broker-definitions.json": ('"max-length": 50000', '"max-length": 5'),
    "docker-compose.yml": (
        "PREBOOK_INTERNAL_URL_PRICING: http://pricing",
        "PREBOOK_INTERNAL_URL_PRICING: http://price",
    ),
    "deploy/kubernetes/components/topology/queues.yaml": ("booking.replies", "booking.reply"),
}
"""One change by hand in a file of each kind."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy of the generated files of this checkout, and of what they are generated from."""
    for path in ("docs/pictures", "docs/reference", "deploy/kubernetes"):
        shutil.copytree(ROOT / path, tmp_path / path)
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    return tmp_path


def run(root: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["generate", "--root", str(root), *options])


def test_every_changed_file_is_named_and_written_again(checkout: Path) -> None:
    for path, (old, new) in CHANGES.items():
        text = (checkout / path).read_text()
        assert old in text, path
        (checkout / path).write_text(text.replace(old, new))

    found = run(checkout, "--check", "--json")
    assert found.exit_code == 1
    assert {line.split(": ")[0] for line in json.loads(found.stdout)["differences"]} == CHANGES.keys()
    assert run(checkout).exit_code == 0
    assert run(checkout, "--check").exit_code == 0
    assert {path: (checkout / path).read_text() for path in CHANGES} == {p: (ROOT / p).read_text() for p in CHANGES}


def test_a_missing_file_is_written(checkout: Path) -> None:
    (checkout / "docs/pictures/default.svg").unlink()
    assert run(checkout, "--check").exit_code == 1
    run(checkout)
    assert (checkout / "docs/pictures/default.svg").stat().st_mode & 0o777 == 0o644


def test_outside_of_a_checkout_the_remedy_is_named(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    done = run(tmp_path, "--check")
    assert done.exit_code == 1
    assert "--root" in done.stderr


def test_compose_has_a_line_for_each_service_and_flow() -> None:
    lines = [line for block in BLOCKS for line in block.lines]
    assert len(lines) == len(SERVICES) + len(FLOWS) + 2 * (len(PROCESSES) + 1)
    shorter = "".join(line for line in COMPOSE.splitlines(keepends=True) if "URL_FLEETS" not in line)
    assert compose_file(shorter) == COMPOSE


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_that_is_not_there_once_is_an_error(number: int) -> None:
    line = f"{' ' * BLOCKS[number].indent}{BLOCKS[number].lines[0]}\n"
    with pytest.raises(MissingBlock, match="2 blocks"):
        compose_file(f"{COMPOSE}\n{line}")
    without = "\n".join(row for row in COMPOSE.splitlines() if row.strip() not in BLOCKS[number].lines)
    with pytest.raises(MissingBlock, match="0 blocks"):
        compose_file(without)


@pytest.mark.real
async def test_imported_definitions_bring_a_broker_in_sync(broker: ManagementClient, model: Topology) -> None:
    users = Topology(grants=model.grants, read_grants=model.read_grants, queues=model.queues)
    await broker._create_users(users, PASSWORDS, lambda _: None)
    imported = await broker._request("POST", "definitions", json=broker_definitions(model, VHOST))
    assert imported.is_success, imported.text
    assert differences(model, await broker.read_live_broker(), frozenset({broker.user})) == []
    await broker.declare(model, {})


def test_definitions_hold_everything_but_users() -> None:
    definitions = json.loads((ROOT / "docs/reference/broker-definitions.json").read_text())
    assert [each["name"] for each in definitions["vhosts"]] == [addresses.VHOST]
    assert "users" not in definitions
    assert all(definitions[kind] for kind in ("permissions", "topic_permissions", "policies", "exchanges", "queues"))
