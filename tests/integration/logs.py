"""Log files of the suite's processes."""

import json
from collections.abc import Iterator
from typing import Any

from prebook.flows import PROCESSES
from tests.integration.suite import Suite

Line = dict[str, Any]


def read_lines(suite: Suite, service: str) -> Iterator[Line]:
    """Yield the log lines of a service.

    Raises:
        ValueError: a line is not JSON.
        TypeError: a line is JSON, but not an object.
    """
    for text in (suite.logs / f"{service}.log").read_text().splitlines():
        line = json.loads(text)
        if not isinstance(line, dict):
            raise TypeError(f"{service}: {text!r} is not a JSON object")
        yield line


def read_all(suite: Suite) -> str:
    """Return the text of the logs of all processes and of the migrations."""
    return "".join((suite.logs / f"{name}.log").read_text() for name in (*PROCESSES, "migrations"))


def find_lines(suite: Suite, service: str, **fields: Any) -> list[Line]:
    """Return the log lines of a service in which ``fields`` have the given values."""
    return [line for line in read_lines(suite, service) if fields.items() <= line.items()]
