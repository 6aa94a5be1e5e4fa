"""The architecture pages and the walk-through name functions that exist."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

from tests.walkthrough.calls import ROOT
from tests.walkthrough.page import CHAPTERS, PAGE, steps_of

PAGES = [*sorted((ROOT / "docs" / "architecture").glob("*.md")), PAGE]
REFERENCE = re.compile(r"`(prebook(?:\.\w+)+):(\w+(?:\.\w+)*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_referenced_function_exists(page: Path) -> None:
    references = REFERENCE.findall(page.read_text())
    assert references
    for module, name in references:
        reduce(getattr, name.split("."), importlib.import_module(module))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_step_of_the_walkthrough_is_a_function_of_its_file(chapter: str) -> None:
    steps = steps_of(chapter)
    assert steps
    assert [step for step in steps if step.function not in _functions(ast.parse((ROOT / step.file).read_text()))] == []


def _functions(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of functions, nested ones included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not isinstance(child, ast.ClassDef):
                yield f"{prefix}{child.name}"
            yield from _functions(child, f"{prefix}{child.name}.")
