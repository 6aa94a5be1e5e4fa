"""The map of traps and pitfalls is complete, and what it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LINES = [line for line in Path(__file__).with_name("README.md").read_text().splitlines() if re.match(r"\| \d", line)]
PITFALLS = {"2.1": 20, "2.2": 18, "2.3": 13, "2.4": 8, "2.5": 11}
"""How many there are of each part."""
TRAPS = 17
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
THREAD = re.compile(r"[\w.-]+/[\w.-]+#\d+")
CELLS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]
OF_TRAPS = {cells[0]: cells for cells in CELLS if "." not in cells[0]}


@cache
def functions_of(path: str) -> dict[str, str]:
    """Test -> docstring."""
    tree = ast.parse((TESTS / path).read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in functions}


def test_every_trap_and_every_pitfall_has_one_line() -> None:
    numbers = [cells[0] for cells in CELLS]
    pitfalls = [f"{part}.{number}" for part, count in PITFALLS.items() for number in range(1, count + 1)]
    assert numbers == [*map(str, range(1, TRAPS + 1)), *pitfalls]


@pytest.mark.parametrize("cells", CELLS, ids=lambda cells: cells[0])
def test_what_a_line_names_exists_or_it_says_why_there_is_none(cells: list[str]) -> None:
    named = NAMED.findall(cells[-1])
    assert named or cells[-1].startswith("does not meet us, because ")
    for path, name in named:
        assert name in functions_of(path), f"{path} has no {name}"


@pytest.mark.parametrize("number", OF_TRAPS)
def test_a_trap_has_a_test_of_its_name_that_says_where_it_comes_from(number: str) -> None:
    _, _, threads, shown = OF_TRAPS[number]
    path, name = NAMED.findall(shown)[0]
    assert name.startswith(f"test_trap_{int(number):02}_")
    cited = THREAD.findall(functions_of(path)[name])
    assert cited == threads.split(", ")
