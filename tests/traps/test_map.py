"""The page of traps and pitfalls is complete, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LINES = [line for line in Path(__file__).with_name("README.md").read_text().splitlines() if re.match(r"\| \d", line)]
PITFALLS = {"2.1": 20, "2.2": 18, "2.3": 13, "2.4": 8, "2.5": 11}
"""Number of pitfalls of each part."""
TRAPS = 17
TEST_REFERENCE = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
THREAD = re.compile(r"[\w.-]+/[\w.-]+#\d+")
CELLS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]
TRAP_CELLS = {cells[0]: cells for cells in CELLS if "." not in cells[0]}


@cache
def functions_of(path: str) -> dict[str, str]:
    """Return the docstrings of the tests of a file, by test."""
    tree = ast.parse((TESTS / path).read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in functions}


def test_every_trap_and_every_pitfall_has_one_line() -> None:
    numbers = [cells[0] for cells in CELLS]
    pitfalls = [f"{part}.{number}" for part, count in PITFALLS.items() for number in range(1, count + 1)]
    assert numbers == [*map(str, range(1, TRAPS + 1)), *pitfalls]


@pytest.mark.parametrize("cells", CELLS, ids=lambda cells: cells[0])
def test_a_line_names_existing_tests_or_the_reason_for_none(cells: list[str]) -> None:
    tests = TEST_REFERENCE.findall(cells[-1])
    assert tests or cells[-1].startswith("does not apply, because ")
    for path, name in tests:
        assert name in functions_of(path), f"{path} has no {name}"


@pytest.mark.parametrize("number", TRAP_CELLS)
def test_a_trap_has_a_test_with_its_number_and_its_source(number: str) -> None:
    _, _, threads, shown = TRAP_CELLS[number]
    path, name = TEST_REFERENCE.findall(shown)[0]
    assert name.startswith(f"test_trap_{int(number):02}_")
    cited = THREAD.findall(functions_of(path)[name])
    assert cited == threads.split(", ")
