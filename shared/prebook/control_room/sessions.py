"""Access of browsers to the control room: one-time tokens, and the sessions that they open.

Only digests are kept, so that what a crash dump or a log of this process shows opens nothing.
"""

import hashlib
import secrets
import time
from collections.abc import Callable

TOKEN_LIFETIME_S = 3600.0
"""Seconds in which a printed URL can be opened; `prebook url` prints another one."""
SESSION_LIFETIME_S = 12 * 3600.0
MAX_TOKENS = 16
MAX_SESSIONS = 32
"""Above these numbers the oldest token or session ends."""


class Sessions:
    """One-time tokens that have not been used yet, and open sessions."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds of a clock that never goes back."""
        self._tokens = _ExpiringSecrets(TOKEN_LIFETIME_S, MAX_TOKENS, clock)
        self._sessions = _ExpiringSecrets(SESSION_LIFETIME_S, MAX_SESSIONS, clock)

    def issue_token(self) -> str:
        """Return a new token, which opens one session."""
        return self._tokens.issue()

    def open_session(self, token: str) -> str | None:
        """Use up a token and return the secret of a new session; None if the token is unknown, used or expired."""
        return self._sessions.issue() if self._tokens.take(token) else None

    def is_open(self, session: str) -> bool:
        """Return whether the secret is that of an open session."""
        return self._sessions.has(session)


class _ExpiringSecrets:
    """Random secrets, each valid for ``lifetime_s`` seconds; at most ``max_secrets`` of them."""

    def __init__(self, lifetime_s: float, max_secrets: int, clock: Callable[[], float]) -> None:
        self._lifetime_s = lifetime_s
        self._max_secrets = max_secrets
        self._clock = clock
        self._expires_at: dict[bytes, float] = {}

    def issue(self) -> str:
        """Return a new secret; the oldest one ends if there are too many."""
        secret = secrets.token_urlsafe(32)
        self._expires_at[_digest(secret)] = self._clock() + self._lifetime_s
        while len(self._expires_at) > self._max_secrets:
            self._expires_at.pop(next(iter(self._expires_at)))
        return secret

    def has(self, secret: str) -> bool:
        """Return whether the secret is valid. The look-up by digest tells an attacker nothing by its time."""
        expires_at = self._expires_at.get(_digest(secret))
        return expires_at is not None and self._clock() < expires_at

    def take(self, secret: str) -> bool:
        """Return whether the secret is valid, and end it."""
        is_valid = self.has(secret)
        self._expires_at.pop(_digest(secret), None)
        return is_valid


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
