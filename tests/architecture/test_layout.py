"""Layout of the source roots: namespace packages, one package per service, short files."""

import tomllib
from pathlib import Path

import pytest

from prebook.flows import PROCESSES

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("services", "shared", "loadtest")
MAX_LINES = 350


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_prebook_is_a_namespace_package(root: str) -> None:
    """An __init__.py in one root would hide the others, and the editable install would break silently."""
    assert (ROOT / root / "prebook").is_dir()
    assert not (ROOT / root / "prebook" / "__init__.py").exists()


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_contains_only_packages(root: str) -> None:
    folders = [p for p in (ROOT / root / "prebook").iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert folders
    assert [p.name for p in folders if any(p.rglob("*.py")) and not (p / "__init__.py").exists()] == []


def test_no_package_is_in_two_source_roots() -> None:
    names = [p.stem for root in SOURCE_ROOTS for p in (ROOT / root / "prebook").iterdir() if p.name != "__pycache__"]
    assert sorted(names) == sorted(set(names))


def test_every_service_has_its_folder() -> None:
    assert {p.name for p in (ROOT / "services" / "prebook").iterdir()} >= set(PROCESSES)


@pytest.mark.parametrize("root", [*SOURCE_ROOTS, "migrations"])
def test_no_file_is_too_long(root: str) -> None:
    lengths = {p.relative_to(ROOT): len(p.read_text().splitlines()) for p in (ROOT / root).rglob("*.py")}
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_the_wheel_includes_every_source_root() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {f"{root}/prebook" for root in SOURCE_ROOTS} <= set(wheel["packages"])
