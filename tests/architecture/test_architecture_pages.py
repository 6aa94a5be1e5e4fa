"""The architecture pages name functions that exist."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "architecture").glob("*.md"))
REFERENCE = re.compile(r"`(prebook(?:\.\w+)+):(\w+(?:\.\w+)*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_referenced_function_exists(page: Path) -> None:
    references = REFERENCE.findall(page.read_text())
    assert references
    for module, name in references:
        reduce(getattr, name.split("."), importlib.import_module(module))
