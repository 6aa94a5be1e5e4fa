"""Log output."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

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
