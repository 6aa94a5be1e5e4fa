"""Observer of the messaging core: the port behind metrics and logs."""

from typing import Protocol

from prebook.messaging.envelope import Envelope
from prebook.messaging.staging import MessageContext


class MessagingObserver(Protocol):
    """Gets a call at every stage of a message. Implementations must neither raise nor block."""

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        """The message was handed over within ``seconds``: confirmed by the broker, or accepted over HTTP."""

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        """One attempt to hand the message over has failed."""

    def on_handled(self, envelope: Envelope, seconds: float) -> None:
        """The effect of the message is committed; handling took ``seconds``."""

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        """The handler raised ``error``; nothing was committed."""

    def on_duplicate(self, envelope: Envelope) -> None:
        """The inbox had recorded the message before; nothing was done."""

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        """The message expired and was dropped. ``stage``: ``outbox`` (unsent) or ``inbound`` (unhandled)."""

    def on_retried(self, envelope: Envelope, delay_s: float) -> None:
        """The message will be delivered again after ``delay_s`` seconds."""

    def on_executed(self, command: str, context: MessageContext, seconds: float) -> None:
        """A command of this name, with all that follows inline from it, took ``seconds``."""

    def on_dead_lettered(self, message_id: str, flow: str, cause: str) -> None:
        """The message was dead-lettered with this ``cause``. A malformed message may lack an id: it is empty then."""


class NullObserver(MessagingObserver):
    """Observer that ignores every call."""

    def on_sent(self, envelope: Envelope, seconds: float) -> None: ...
    def on_send_failed(self, envelope: Envelope, error: Exception) -> None: ...
    def on_handled(self, envelope: Envelope, seconds: float) -> None: ...
    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None: ...
    def on_duplicate(self, envelope: Envelope) -> None: ...
    def on_expired(self, envelope: Envelope, stage: str) -> None: ...
    def on_retried(self, envelope: Envelope, delay_s: float) -> None: ...
    def on_executed(self, command: str, context: MessageContext, seconds: float) -> None: ...
    def on_dead_lettered(self, message_id: str, flow: str, cause: str) -> None: ...


class ObserverGroup(MessagingObserver):
    """Observer that passes every call on to several, in order."""

    def __init__(self, *observers: MessagingObserver) -> None:
        self._observers = observers

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        for observer in self._observers:
            observer.on_sent(envelope, seconds)

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        for observer in self._observers:
            observer.on_send_failed(envelope, error)

    def on_handled(self, envelope: Envelope, seconds: float) -> None:
        for observer in self._observers:
            observer.on_handled(envelope, seconds)

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        for observer in self._observers:
            observer.on_handling_failed(envelope, error)

    def on_duplicate(self, envelope: Envelope) -> None:
        for observer in self._observers:
            observer.on_duplicate(envelope)

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        for observer in self._observers:
            observer.on_expired(envelope, stage)

    def on_retried(self, envelope: Envelope, delay_s: float) -> None:
        for observer in self._observers:
            observer.on_retried(envelope, delay_s)

    def on_executed(self, command: str, context: MessageContext, seconds: float) -> None:
        for observer in self._observers:
            observer.on_executed(command, context, seconds)

    def on_dead_lettered(self, message_id: str, flow: str, cause: str) -> None:
        for observer in self._observers:
            observer.on_dead_lettered(message_id, flow, cause)
