"""Laws of claim checks, as pure functions of what was counted."""

from dataclasses import dataclass

from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law

CHEAPER = "bytes sent to the broker with the body inside >= 20 times those with a claim check"
RECEIVED = "routes received after the replay = routes planned"
BALANCE = "messages with a claim check = bodies read + deleted unread + waiting"
NO_ORPHANS = "bodies kept that nothing refers to = 0"
MIN_RATIO = 20
COMPUTED = "lifetime computed from the topology"
TOO_SHORT = "lifetime as long as a message waits"


@dataclass(frozen=True, kw_only=True)
class BodiesSeen:
    """Counts of one arrangement, when everything is at rest."""

    planned: int
    """Routes that the service has accepted."""
    parked: int
    """Messages that were parked, and replayed after the time that a message waits."""
    received: int
    """Routes that the receiver has stored at the end."""
    checked: int
    """Messages with a claim check that were sent."""
    read: int
    """Bodies that were read at least once, deleted ones included."""
    deleted_unread: int
    waiting: int
    """Bodies that are stored and were never read."""
    orphans: int
    """Bodies that are stored after the collection, although no dead letter and no unsent message refers to them."""
    kept: int
    """Bodies that are stored after the collection for dead letters."""


def bytes_check(inline: int, checked: int) -> LawCheck:
    """Return the check of the bytes that one message costs; ``inline``: with its body inside."""
    return check_law(
        CHEAPER, COMPUTED, ("inside", inline), Relation.AT_LEAST, (f"{MIN_RATIO} x check", MIN_RATIO * checked)
    )


def body_checks(arrangement: str, seen: BodiesSeen) -> list[LawCheck]:
    """Return the checks of one arrangement; a lifetime that is too short loses the routes of the parked messages."""
    is_wrong = arrangement == TOO_SHORT
    return [
        check_law(
            RECEIVED,
            arrangement,
            ("received", seen.received),
            Relation.EQUAL,
            ("planned", seen.planned),
            expected=LawVerdict.VIOLATED if is_wrong else LawVerdict.HELD,
        ),
        check_law(
            BALANCE,
            arrangement,
            ("checked", seen.checked),
            Relation.EQUAL,
            ("read + deleted unread + waiting", seen.read + seen.deleted_unread + seen.waiting),
        ),
        check_law(NO_ORPHANS, arrangement, ("orphans", seen.orphans), Relation.EQUAL, ("", 0)),
    ]
