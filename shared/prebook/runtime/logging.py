"""Log one JSON line per event, with the conversation, message and trace that it belongs to. No rider data."""

import logging
import sys
import traceback
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import error_summary, redact_values
from prebook.patterns.trace import trace_id

MAX_FIELD_LENGTH = 500
MAX_TRACEBACK_LENGTH = 8000
MAX_ERRORS = 20
"""Errors of a chain or group whose tracebacks are logged."""
_ENCODER = msgspec.json.Encoder()


def configure(service: str, level: str) -> None:
    """Send structlog and the standard library's loggers to stdout as JSON lines that name ``service``."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _expand_message,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_format_error),
            _bound_fields,
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
        "trace_id": trace_id(envelope.trace.traceparent),
        "flow": envelope.flow,
        "kind": envelope.kind.value,
        "coupling": envelope.coupling.value,
    }


def _format_error(exc_info: ExcInfo) -> str:
    """Return tracebacks and summaries of an error and its causes, the first cause first, without values."""
    pending: list[BaseException] = [exc_info[1]]
    texts: list[str] = []
    while pending and len(texts) < MAX_ERRORS:
        error = pending.pop()
        texts.append("".join((*traceback.format_tb(error.__traceback__), error_summary(error))))
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        pending.extend(error.exceptions if isinstance(error, BaseExceptionGroup) else ())
        pending.extend([cause] if cause else [])
    return "\n".join(reversed(texts))[-MAX_TRACEBACK_LENGTH:]


def _bound_fields(_: Any, __: str, event: EventDict) -> EventDict:
    return {name: value if name == "exception" else _bound_field(name, value) for name, value in event.items()}


def _bound_field(name: str, value: object) -> object:
    """Return a number, or a text of bounded length, without the values that the text of an error may quote."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = redact_values(str(value)) if name == "error" or not isinstance(value, str) else value
    return text[:MAX_FIELD_LENGTH]


class _StructlogHandler(logging.Handler):
    """Forward records of the standard library's loggers to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, redact_values(record.getMessage()), logger=record.name, exc_info=record.exc_info)
