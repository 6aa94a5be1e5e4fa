"""The check of contracts: verdicts, versions, exit status, and the committed snapshot."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from prebook.cli.contracts import contracts
from prebook.messaging.body_codec import BODY_TYPES
from prebook.messaging.compatibility import MessageComparison, Upgrade, compare
from prebook.messaging.contract_snapshot import MessageContract, Snapshot, current_snapshot
from prebook.patterns.schema_compatibility import Field, Number, Object, Text

COMMITTED = Path(__file__).parents[2] / "docs" / "reference" / "contracts.json"
NAME = "fare_refused"
REASON = Field(schema=Text())
CODE = Field(schema=Number(whole=True))
V1 = Object(fields={"reason": REASON})
REQUIRED = Object(fields={"reason": REASON, "code": CODE})
OPTIONAL = Object(fields={"reason": REASON, "code": Field(schema=Number(whole=True), default=0)})
RENAMED = Object(fields={"code": CODE})


def snapshot(versions: Mapping[int, Object]) -> Snapshot:
    contract = MessageContract(senders=("pricing",), receivers=("booking",), versions=versions)
    return Snapshot(messages={NAME: contract} if versions else {})


@pytest.mark.parametrize(
    ("old", "new", "verdict", "write_version"),
    [
        ({1: V1}, {1: V1}, "full", None),
        ({1: V1}, {1: OPTIONAL}, "full", None),
        ({1: V1}, {1: REQUIRED}, "forward", None),
        ({1: REQUIRED}, {1: V1}, "backward", None),
        ({1: V1}, {1: RENAMED}, "none", None),
        ({1: V1}, {1: V1, 2: RENAMED}, "full", 1),
        ({1: V1, 2: RENAMED}, {1: V1, 2: RENAMED, 3: REQUIRED}, "full", 2),
        ({1: V1, 2: RENAMED}, {2: RENAMED}, "forward", None),
        ({1: V1}, {2: RENAMED}, "none", None),
        ({}, {1: V1}, "backward", None),
        ({1: V1}, {}, "forward", None),
    ],
)
def test_a_change_has_its_verdict(
    old: Mapping[int, Object], new: Mapping[int, Object], verdict: str, write_version: int | None
) -> None:
    (comparison,) = compare(snapshot(old), snapshot(new))

    assert (comparison.compatibility, comparison.write_version) == (verdict, write_version)
    assert comparison.is_breaking == (verdict in {"forward", "none"})


def test_a_backward_change_needs_the_receivers_first() -> None:
    (comparison,) = compare(snapshot({1: REQUIRED}), snapshot({1: V1}))

    assert comparison.upgrade is Upgrade.RECEIVERS
    assert comparison.forward_problems == (
        "version 1: $.code: the reader requires it, and the writer does not send it",
    )


def test_the_snapshot_has_every_message_with_all_versions_and_survives_json() -> None:
    current = current_snapshot()
    versions = [f"prebook.{name}.v{number}" for name, each in current.messages.items() for number in each.versions]

    assert sorted(versions) == sorted(BODY_TYPES)
    assert msgspec.json.decode(msgspec.json.encode(current), type=Snapshot) == current
    assert current.messages["booking_ended"].senders == ("booking",)
    assert current.messages["booking_ended"].receivers == ("matching", "pricing")


def test_this_version_reads_what_the_committed_snapshot_describes() -> None:
    committed = msgspec.json.decode(COMMITTED.read_bytes(), type=Snapshot)
    breaking = [each for each in compare(committed, current_snapshot()) if each.is_breaking]

    assert breaking == [], "make a new version instead (docs/guide.md, Change a contract)"


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(contracts, [str(each) for each in arguments])
    return result.exit_code, result.output


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    written = {"old": snapshot({1: V1}), "same": snapshot({1: OPTIONAL}), "breaking": snapshot({1: RENAMED})}
    for name, each in written.items():
        (tmp_path / name).write_bytes(msgspec.json.encode(each))
    (tmp_path / "no snapshot").write_text("{}")
    return {path.name: path for path in tmp_path.iterdir()}


def test_the_exit_status_says_whether_a_change_is_breaking(files: dict[str, Path]) -> None:
    assert run("check", files["old"], files["same"]) == (
        0,
        "1 messages, 0 with changes that one side does not understand\n",
    )
    status, output = run("check", files["old"], files["breaking"])
    assert status == 1
    assert "BREAKING fare_refused: none, upgrade no order works" in output
    assert "from pricing to booking" in output


def test_the_comparison_is_printed_as_json(files: dict[str, Path]) -> None:
    status, output = run("check", files["old"], files["breaking"], "--json")
    (shown,) = json.loads(output)

    fields: dict[str, Any] = {name: shown[name] for name in ("name", "compatibility", "breaking")}
    assert (status, fields) == (1, {"name": NAME, "compatibility": "none", "breaking": True})
    assert set(shown) == {*MessageComparison.__dataclass_fields__, "upgrade", "breaking"}


def test_a_file_that_is_no_snapshot_is_refused_with_a_remedy(files: dict[str, Path]) -> None:
    status, output = run("check", files["no snapshot"])

    assert (status, "contracts export" in output) == (1, True)


def test_an_export_is_compatible_with_this_version(tmp_path: Path) -> None:
    exported = tmp_path / "contracts.json"
    assert run("export", "--output", exported)[0] == 0
    assert run("check", exported)[0] == 0
    assert run("export")[1] == exported.read_text()
