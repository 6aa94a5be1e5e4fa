"""The house keeps its shape."""

import tomllib
from pathlib import Path

import pytest

from prebook.flows import PROCESSES

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("services", "shared")
LONGEST_FILE = 200


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_prebook_is_a_namespace_package(root: str) -> None:
    """An __init__.py in one root would hide the other, and the editable install would break without a word."""
    assert (ROOT / root / "prebook").is_dir()
    assert not (ROOT / root / "prebook" / "__init__.py").exists()


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_what_stands_in_a_source_root_is_a_package(root: str) -> None:
    folders = [p for p in (ROOT / root / "prebook").iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert folders
    assert [p.name for p in folders if any(p.rglob("*.py")) and not (p / "__init__.py").exists()] == []


def test_no_name_is_in_both_source_roots() -> None:
    services, shared = ({p.stem for p in (ROOT / root / "prebook").iterdir()} for root in SOURCE_ROOTS)
    assert services & shared <= {"__pycache__"}


def test_every_service_has_its_folder() -> None:
    assert {p.name for p in (ROOT / "services" / "prebook").iterdir()} >= set(PROCESSES)


@pytest.mark.parametrize("root", [*SOURCE_ROOTS, "loadtest", "migrations"])
def test_no_file_is_longer_than_a_sitting(root: str) -> None:
    lengths = {p.relative_to(ROOT): len(p.read_text().splitlines()) for p in (ROOT / root).rglob("*.py")}
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_the_wheel_takes_both_source_roots() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {"services/prebook", "shared/prebook"} <= set(wheel["packages"])
