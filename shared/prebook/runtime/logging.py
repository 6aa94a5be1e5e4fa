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

MAX_FIELD_LENGTH = 500
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def configure(service: str, level: str) -> None:
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
    """A line that cannot be written, for the disk is full or nobody reads any more, is lost, and nothing else is."""

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
    """What every log line about a message carries."""
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
    """Libraries that log the standard way end in the same stream."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
