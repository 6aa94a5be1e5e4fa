"""Log output."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from pathlib import Path

import msgspec
import pytest
import structlog

from prebook.messaging.errors import error_summary
from prebook.runtime import logging


@pytest.fixture
def restored_configuration() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("restored_configuration")
def test_a_log_line_that_cannot_be_written_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing flushes, which must fail
    monkeypatch.setattr(sys, "stdout", full)
    logging.configure("pricing", "info")
    structlog.get_logger("test").warning("the disk is full")
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space"):
        full.close()


@pytest.fixture
def log(restored_configuration: None, capsys: pytest.CaptureFixture[str]) -> structlog.stdlib.BoundLogger:
    del restored_configuration, capsys  # the configuration keeps the standard output, which capsys replaces
    logging.configure("pricing", "info")
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("test")
    return logger


def test_every_field_has_a_maximum_length(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "x" * 100_000
    log.warning(long, header=long, headers={"name": long}, ids=[long] * 9, error=ValueError(long))
    line = capsys.readouterr().out
    assert len(line) < 6 * logging.MAX_FIELD_LENGTH
    assert set(msgspec.json.decode(line)) >= {"event", "header", "headers", "ids", "error"}


def test_a_traceback_has_a_maximum_length_and_keeps_its_end(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ValueError("first")
    for number in range(100):
        following = ValueError(f"number {number}")
        following.__cause__ = error
        error = following
    log.error("failed", exc_info=error)
    text = msgspec.json.decode(capsys.readouterr().out)["exception"]
    assert len(text) <= logging.MAX_TRACEBACK_LENGTH
    assert text.rstrip().endswith("ValueError: number 99")


def test_an_error_that_is_its_own_cause_is_logged(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ValueError("first")
    second = ValueError("second")
    first.__cause__ = second
    second.__cause__ = first
    log.error("failed", exc_info=first)
    assert "ValueError: second" in capsys.readouterr().out


class Kind(Enum):
    ONE = "one"


class Body(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind = Kind.ONE


@pytest.mark.parametrize(
    "provoke",
    [
        lambda: msgspec.json.decode(b'{"kind": "canary"}', type=Body),
        lambda: msgspec.json.decode(b'{"canary": 1}', type=Body),
        lambda: dict[str, object]()["canary"],
        lambda: int("canary"),
        lambda: datetime.fromisoformat("canary"),
        lambda: Kind("canary"),
    ],
)
def test_values_that_an_error_quotes_are_not_logged(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str], provoke: Callable[[], object]
) -> None:
    with pytest.raises((ValueError, KeyError), match="canary") as caught:
        provoke()
    log.error("failed", error=error_summary(caught.value))
    assert "canary" not in capsys.readouterr().out
