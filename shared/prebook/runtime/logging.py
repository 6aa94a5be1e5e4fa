"""One JSON line per event, with the conversation, message and trace it belongs to. No rider data."""

import logging
import sys
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict

from prebook.messaging.envelope import Envelope
from prebook.patterns.trace import trace_id

LONGEST_FIELD = 500
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def configure(service: str, level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _with_message,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _bounded,
            structlog.processors.JSONRenderer(serializer=lambda event, **_: _ENCODER.encode(event).decode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _Lines(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)


class _Lines(structlog.PrintLogger):
    """A line that cannot be written, for the disk is full or nobody reads any more, is lost, and nothing else is."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _with_message(_: Any, __: str, event: EventDict) -> EventDict:
    """``message=envelope`` is spelled here, and so only where the line is written."""
    if isinstance(envelope := event.get("message"), Envelope):
        del event["message"]
        event.update(about(envelope))
    return event


def about(envelope: Envelope) -> dict[str, str]:
    """What every log line about a message carries."""
    return {
        "conversation": envelope.conversation,
        "message_id": envelope.id,
        "trace_id": trace_id(envelope.traceparent),
        "flow": envelope.flow,
        "kind": envelope.kind.value,
        "coupling": envelope.coupling.value,
    }


def _bounded(_: Any, __: str, event: EventDict) -> EventDict:
    return {k: v[:LONGEST_FIELD] if isinstance(v, str) and k != "exception" else v for k, v in event.items()}


class _ToStructlog(logging.Handler):
    """Libraries that log the standard way end in the same stream."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
