"""`prebook keys` on a folder of secrets: what it changes, shows and refuses."""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prebook.cli.main import main
from prebook.devstack.key_ring import KeyRing, fingerprint, generate_key_ring, read_key_ring, write_key_ring
from prebook.patterns.signature import generate_secret


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    ring = generate_key_ring(rider_callbacks=(generate_secret(),))
    write_key_ring(tmp_path, ring)
    return ring


def run(folder: Path, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", command, "--secrets-dir", str(folder), *arguments])


def age(folder: Path, seconds: float) -> None:
    """Let the files be of a time that many seconds ago."""
    for path in folder.rglob("*_secrets"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_list_shows_fingerprints_and_no_secret(tmp_path: Path, ring: KeyRing) -> None:
    result = run(tmp_path, "list", "--json")
    listed = {each["use"]: each["fingerprints"] for each in json.loads(result.stdout)["keys"]}
    assert listed == {use: [fingerprint(secret) for secret in secrets] for use, secrets in ring.holders().items()}
    assert not any(secret in result.stdout for secrets in ring.holders().values() for secret in secrets)


@pytest.mark.parametrize("command", ["rotate", "retire"])
def test_without_apply_nothing_is_changed(tmp_path: Path, ring: KeyRing, command: str) -> None:
    result = run(tmp_path, command)
    assert result.exit_code == 0, result.output
    assert "--apply" in result.stdout
    assert read_key_ring(tmp_path) == ring


def test_a_rotation_and_a_retirement_replace_every_secret(tmp_path: Path, ring: KeyRing) -> None:
    assert run(tmp_path, "rotate", "--apply").exit_code == 0
    rotated = read_key_ring(tmp_path)
    age(tmp_path, 61)
    assert run(tmp_path, "retire", "--apply").exit_code == 0
    assert read_key_ring(tmp_path) == rotated.retired()
    assert not set(read_key_ring(tmp_path).holders().values()) & set(ring.holders().values())


def test_a_second_rotation_waits_for_the_retirement(tmp_path: Path, ring: KeyRing) -> None:
    run(tmp_path, "rotate", "--apply")
    rotated = read_key_ring(tmp_path)
    result = run(tmp_path, "rotate", "--apply")
    assert (result.exit_code, read_key_ring(tmp_path)) == (1, rotated)
    assert "prebook keys retire" in result.stderr


def test_old_secrets_are_not_retired_before_services_have_reloaded(tmp_path: Path, ring: KeyRing) -> None:
    run(tmp_path, "rotate", "--apply")
    rotated = read_key_ring(tmp_path)
    age(tmp_path, 30)
    result = run(tmp_path, "retire", "--apply")
    assert (result.exit_code, read_key_ring(tmp_path)) == (1, rotated)
    assert "30 s ago" in result.stderr
