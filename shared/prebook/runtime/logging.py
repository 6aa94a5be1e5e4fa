"""Log one JSON line per event, with the conversation, message and trace that it belongs to. No rider data."""

import logging
import sys
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict

from prebook.messaging.envelope import Envelope
from prebook.patterns.trace import trace_id

MAX_FIELD_LENGTH = 500
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def configure(service: str, level: str) -> None:
    """Send structlog and the standard library's loggers to stdout as JSON lines that name ``service``."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _expand_message,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _truncate_fields,
            structlog.processors.JSONRenderer(serializer=lambda event, **_: _ENCODER.encode(event).decode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _LossyPrintLogger(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, handlers=[_StructlogHandler()], force=True)


class _LossyPrintLogger(structlog.PrintLogger):
    """Drop a line that cannot be written, because the disk is full or the pipe is closed; raise nothing."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _expand_message(_: Any, __: str, event: EventDict) -> EventDict:
    """Replace ``message=envelope`` by its fields, only for a line that is written."""
    if isinstance(envelope := event.get("message"), Envelope):
        del event["message"]
        event.update(message_fields(envelope))
    return event


def message_fields(envelope: Envelope) -> dict[str, str]:
    """Fields of every log line about a message."""
    return {
        "conversation_id": envelope.conversation_id,
        "message_id": envelope.id,
        "trace_id": trace_id(envelope.traceparent),
        "flow": envelope.flow,
        "kind": envelope.kind.value,
        "coupling": envelope.coupling.value,
    }


def _truncate_fields(_: Any, __: str, event: EventDict) -> EventDict:
    return {k: v[:MAX_FIELD_LENGTH] if isinstance(v, str) and k != "exception" else v for k, v in event.items()}


class _StructlogHandler(logging.Handler):
    """Forward records of the standard library's loggers to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
