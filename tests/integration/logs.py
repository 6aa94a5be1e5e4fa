"""The services' logs, line by line."""

import json
from collections.abc import Iterator
from typing import Any

from prebook.flows import PROCESSES
from tests.integration.suite import Suite

Line = dict[str, Any]


def lines(suite: Suite, service: str) -> Iterator[Line]:
    """Raises ValueError where a line is no JSON object."""
    for text in (suite.logs / f"{service}.log").read_text().splitlines():
        line = json.loads(text)
        if not isinstance(line, dict):
            raise TypeError(f"{service}: {text!r} is no JSON object")
        yield line


def everything(suite: Suite) -> str:
    """All that any process of the suite has written."""
    return "".join((suite.logs / f"{name}.log").read_text() for name in (*PROCESSES, "migrations"))


def about(suite: Suite, service: str, **fields: Any) -> list[Line]:
    """Lines in which these fields have these values."""
    return [line for line in lines(suite, service) if fields.items() <= line.items()]
