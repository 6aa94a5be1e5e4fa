"""One replay from the archive, as far as it has come."""

import getpass
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from prebook.replay.archive_report import Effects, Refusal, Report, State
from prebook.replay.archive_selection import Originals, Selection
from prebook.replay.archived_message import Kept, objection
from prebook.replay.receivers import Receiver, Sending, outgoing

MOST = 100_000
"""Messages that one replay holds in memory."""
TOO_OLD = "the receiver's inbox may have forgotten it; --force sends it all the same"


class TooMuch(Exception):
    """More is selected than one replay takes."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """``remembered_s``: so long do the receivers' inboxes remember what they admitted."""

    receivers: Sequence[Receiver]
    remembered_s: float
    go: bool
    rate_per_s: float
    revive: bool = False
    force: bool = False


@dataclass
class Replay:
    selection: Selection
    terms: Terms
    id: str = field(default_factory=lambda: f"archive-{token_hex(6)}")
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    state: State = State.DRY_RUN
    messages: int = 0
    unheard: int = 0
    sendings: list[Sending] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    effects: Effects | None = None
    _is_original: Originals = field(default_factory=Originals)

    def consider(self, kept: Kept) -> None:
        """Take it in where it is selected. In the archive's order. Raises TooMuch."""
        if not (self.selection.takes(kept) and self._is_original(kept)):
            return
        self.messages += 1
        hearing = [receiver for receiver in self.terms.receivers if receiver.hears(kept)]
        self.unheard += not hearing
        wire = outgoing(kept, self.id, revive=self.terms.revive)
        self.sendings += [Sending(receiver, kept, wire) for receiver in hearing]
        if hearing and (reason := objection(kept) or self._age(kept, hearing)):
            self.refusals[reason] += 1
        if len(self.sendings) > MOST:
            raise TooMuch(f"more than {MOST} messages are selected")

    def _age(self, kept: Kept, hearing: Sequence[Receiver]) -> str:
        """Empty where the receivers' inboxes still know it if they had it; queues of nobody's have none of ours."""
        oldest = self.at - timedelta(seconds=self.terms.remembered_s)
        forgotten = kept.said_at is None or kept.said_at < oldest
        return TOO_OLD if forgotten and not self.terms.force and any(r.service for r in hearing) else ""

    def report(self) -> Report:
        effects = self.effects
        return Report(
            id=self.id,
            at=self.at,
            by=getpass.getuser(),
            state=self.state,
            selection=self.selection.spelled(),
            rate_per_s=self.terms.rate_per_s,
            revive=self.terms.revive,
            force=self.terms.force,
            receivers=tuple(receiver.queue for receiver in self.terms.receivers),
            messages=self.messages,
            unheard=self.unheard,
            sendings=len(self.sendings),
            sent=self.sent,
            known=effects.known if effects else None,
            effects=effects.new if effects else None,
            unconfirmed=effects.missing if effects else None,
            refusals=tuple(Refusal(reason=reason, messages=n) for reason, n in sorted(self.refusals.items())),
        )
