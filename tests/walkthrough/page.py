"""Chapters of docs/walkthrough.md, and the functions that each lists."""

import re
from collections.abc import Sequence

from tests.walkthrough.calls import ROOT, Call

PAGE = ROOT / "docs" / "walkthrough.md"
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| `([\w.]+)` \| `((?:services|shared)/[\w/]+\.py)` \| .+ \|$", re.MULTILINE)
_PARTS = HEADING.split(PAGE.read_text())
CHAPTERS = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))
"""Text of each chapter, by its heading."""


def steps_of(chapter: str) -> Sequence[Call]:
    """Return the functions that a chapter lists, in its order."""
    return [Call(function, file) for function, file in ROW.findall(CHAPTERS[chapter])]
