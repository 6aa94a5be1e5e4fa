"""The guide explains prebook.testing with the code of the example project."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "testing" / "example_project"
SECTION = "## Test a service of your own in memory\n"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def blocks() -> list[str]:
    _, _, after = (ROOT / "docs" / "guide.md").read_text().partition(SECTION)
    section, _, _ = after.partition("\n## ")
    return BLOCK.findall(section)


def test_the_section_shows_code() -> None:
    assert len(blocks()) >= 5


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.partition("\n")[0])
def test_code_in_the_guide_is_code_of_the_example(block: str) -> None:
    assert any(block in path.read_text() for path in EXAMPLE.glob("*.py"))
