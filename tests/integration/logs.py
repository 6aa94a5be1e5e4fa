"""Log files of the suite's processes."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from prebook.flows import PROCESSES, SERVICES
from tests.integration.suite import Suite

Line = dict[str, Any]
MESSAGE_FIELDS = {"conversation_id", "message_id", "trace_id", "flow", "kind", "coupling"}
MESSAGE_EVENTS = frozenset(
    {
        "message handled",
        "message handling failed",
        "duplicate message ignored",
        "message expired",
        "message retry scheduled",
        "message send failed",
    }
)


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


def message_lines(suite: Suite, service: str) -> list[Line]:
    """Return the log lines of a service about messages. Raises AssertionError if a line of its log is incomplete."""
    lines = list(read_lines(suite, service))
    assert {line["service"] for line in lines} == {service}
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    about_messages = [line for line in lines if line["event"] in MESSAGE_EVENTS]
    incomplete = [line for line in about_messages if not all(line.get(name) for name in MESSAGE_FIELDS)]
    assert incomplete == []
    return about_messages


def find_secrets(suite: Suite) -> list[str]:
    """Return the secrets of the suite that are in its logs."""
    text = read_all(suite)
    secrets = itertools.chain([suite.state.management_password], *suite.state.signing_secrets.values())
    return [secret for secret in secrets if secret in text]


def verify(suite: Suite) -> None:
    """Check the logs of all services. Raises AssertionError if a line is incomplete or has a secret."""
    for service in SERVICES:
        message_lines(suite, service)
    assert not find_secrets(suite), f"secrets are logged; see {suite.logs}"
