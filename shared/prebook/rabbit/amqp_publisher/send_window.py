"""Search for the message that made the broker close the channel. No I/O.

A channel error names no message: the broker has confirmed some of those before it and read none of those behind it.
So all unconfirmed messages are published again, half as many at a time after each further error, until only one was on
the channel: it is the offender. Messages may be published twice by that, as after every lost confirm; receivers discard
the second copy. Source: AMQP 0-9-1, section 2.2.3 (channel.close).
"""

from collections import deque

from prebook.rabbit.amqp_publisher.unconfirmed import OVERDUE, PendingConfirm, UnconfirmedMessages

MAX_LIMIT = 1024
"""Messages on the channel from which on the search has ended."""


class SendWindow:
    """Messages that wait for their place on the channel, in order, while their number there is limited."""

    def __init__(self, unconfirmed: UnconfirmedMessages) -> None:
        self._unconfirmed = unconfirmed
        self._waiting: deque[PendingConfirm] = deque()
        self._limit = MAX_LIMIT
        self.is_limited = False
        """Whether a message has to wait for its place: the channel is closed, or an offender is searched for."""

    def append(self, pending: PendingConfirm) -> None:
        """Let a message wait behind the others."""
        self._waiting.append(pending)

    def close(self, reason: str) -> PendingConfirm | None:
        """Take all messages back from the closed channel; refuse and return the offender if it is found.

        ``reason``: the broker's words.
        """
        was_alone = self._unconfirmed.on_channel == 1
        in_flight = self._unconfirmed.restart()
        self.is_limited = True
        if was_alone and in_flight:
            in_flight[0].refuse(reason)
            return in_flight[0]
        self._limit = max(1, min(len(in_flight), self._limit) // 2)
        self._waiting.extendleft(reversed(in_flight))
        return None

    def grow(self) -> None:
        """Allow one more message after each confirm, so that the limit doubles with each round."""
        self._limit += 1

    def take_ready(self) -> list[PendingConfirm]:
        """Return the messages that may be written now, and count them as unconfirmed. Ends the search if none waits."""
        ready = []
        while self._waiting and self._unconfirmed.on_channel < self._limit:
            pending = self._waiting.popleft()
            if not pending.future.done():
                self._unconfirmed.add(pending)
                ready.append(pending)
        if self._limit >= MAX_LIMIT or not (self._waiting or self._unconfirmed.on_channel):
            self._limit = MAX_LIMIT
            self.is_limited = bool(self._waiting)
        return ready

    def fail_overdue(self, now: float) -> None:
        """Fail waiting messages whose deadline has passed."""
        for pending in self._waiting:
            if pending.deadline <= now:
                pending.fail(OVERDUE)

    def fail_all(self, reason: str) -> None:
        """Fail every waiting message, for a lost connection."""
        while self._waiting:
            self._waiting.popleft().fail(reason)
