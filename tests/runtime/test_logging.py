"""Lines of the log."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from prebook.runtime import logging


@pytest.fixture
def kept_configuration() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("kept_configuration")
def test_a_line_that_cannot_be_written_is_lost_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - to close it is to write to it
    monkeypatch.setattr(sys, "stdout", full)
    logging.configure("pricing", "info")
    structlog.get_logger("anew").warning("the disk is full")
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space"):
        full.close()
