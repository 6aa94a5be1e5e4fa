"""Claim check: a large body stays in a store of the sender, and the message carries a check for it.

The check has a reference, the size and a digest, by which the receiver can verify the body. A stored body must
outlive every path by which its message can still arrive, so its lifetime is computed instead of configured.

Source: EIP, Claim Check; CloudEvents extension "Dataref (Claim Check Pattern)".
"""

import hashlib
import re
from dataclasses import astuple, dataclass

from prebook.contracts.message import Message

MAX_CHECKED_BYTES = 512 * 1024
"""Size limit of a stored body, in bytes."""
REFERENCE_PATTERN = re.compile(r"[0-9a-f]{64}\Z")
"""Form of a reference, and of a digest: SHA-256 as hexadecimal digits."""


class ClaimCheck(Message, frozen=True, kw_only=True):
    """Stands for the body of a message, which its sender has stored."""

    type: str
    """CloudEvents type of the body."""
    reference: str
    """Key of the body in the sender's claim store."""
    size_bytes: int
    sha256: str
    """Digest of the body, as hexadecimal digits."""
    content_type: str
    """Media type of the body."""

    def problem_of(self, body: bytes) -> str:
        """Return why ``body`` is not the checked one; empty if it is."""
        if len(body) != self.size_bytes:
            return f"{len(body)} bytes instead of {self.size_bytes}"
        return "" if hashlib.sha256(body).hexdigest() == self.sha256 else "another digest"


def check_in(message_id: str, type_: str, body: bytes, content_type: str) -> ClaimCheck:
    """Return the check for the body of a message. ``content_type``: media type of the body.

    The reference is derived from message and body: a message that is written again refers to the same stored body, and
    no two messages share one.
    """
    reference = hashlib.sha256(message_id.encode() + b"\0" + body).hexdigest()
    digest = hashlib.sha256(body).hexdigest()
    return ClaimCheck(type=type_, reference=reference, size_bytes=len(body), sha256=digest, content_type=content_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLifetime:
    """Lifetime that a stored body needs, in seconds, as the sum over the paths of its message."""

    archive_s: float
    """Time after which the archive may still send the message."""
    message_ttl_s: float
    """Longest time that the message waits for its receiver."""
    retries_s: float
    """Time from the first attempt to the last."""
    parking_s: float
    """Time from the parking of the message until its dead letter extends the lifetime."""

    @property
    def required_s(self) -> float:
        """Required lifetime, in seconds: the latest copy from the archive takes every further way after one another."""
        return float(sum(astuple(self)))

    def problem_of(self, lifetime_s: float) -> str:
        """Return why a lifetime is too short, with its parts; empty if it is not."""
        if lifetime_s >= self.required_s:
            return ""
        return (
            f"{lifetime_s:g} s are shorter than the {self.required_s:g} s in which a message may still need its body: "
            f"archive {self.archive_s:g}, waiting {self.message_ttl_s:g}, retries {self.retries_s:g}, "
            f"parking {self.parking_s:g}"
        )
