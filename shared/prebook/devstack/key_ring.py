"""Signing secrets and the console's token of a deployment: the files that hold them, and their rotation.

A rotation has two steps, and neither refuses a call, in whatever order the services reload their files. `rotate` adds
new secrets: every active one signs, and every active one verifies. `retire` removes the old ones once all services
have reloaded. Source: Standard Webhooks specification, secret rotation.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe

from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import replace_file
from prebook.flows import CONSOLE, OPERATIONS, PROCESSES
from prebook.patterns.signature import generate_secret
from prebook.runtime.call_secrets import derive_caller_secrets
from prebook.text_file import read_secret

CALLERS = (*PROCESSES, CONSOLE)
TOKEN_BYTES = 32
RIDER_CALLBACK_FILE = "booking/rider_callback_secrets"
OPERATOR_TOKENS_FILE = f"{OPERATIONS}/operator_tokens"
CONSOLE_TOKEN_FILE = f"{CONSOLE}/operator_token"
MAX_ACTIVE = 2
"""Secrets of one holder that sign at a time: each lengthens every signature."""

Secrets = tuple[str, ...]


def generate_token() -> str:
    """Return a new random token of an operator."""
    return token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True, repr=False)
class KeyRing:
    """Active secrets, the newest first.

    ``signing``: of the calls of each service and of the console; ``rider_callbacks``: of callbacks to riders' systems,
    empty if they are not kept here; ``console_tokens``: of the console at operations; ``other_tokens``: entries
    ``name=token`` of other operators, which no rotation changes.
    """

    signing: Mapping[str, Secrets]
    rider_callbacks: Secrets
    console_tokens: Secrets
    other_tokens: Secrets = ()

    def holders(self) -> dict[str, Secrets]:
        """Return the active secrets by the name of what they are for."""
        callbacks = {"rider callbacks": self.rider_callbacks} if self.rider_callbacks else {}
        calls = {f"calls of {caller}": self.signing[caller] for caller in CALLERS}
        return {**calls, **callbacks, "operator token of the console": self.console_tokens}

    def rotated(self) -> "KeyRing":
        """Return the ring with a new secret for everything, in front of the others."""
        return self._changed(lambda secrets, generate: (generate(), *secrets))

    def retired(self) -> "KeyRing":
        """Return the ring with the newest secrets only."""
        return self._changed(lambda secrets, _: secrets[:1])

    def _changed(self, change: Callable[[Secrets, Callable[[], str]], Secrets]) -> "KeyRing":
        return replace(
            self,
            signing={caller: change(secrets, generate_secret) for caller, secrets in self.signing.items()},
            rider_callbacks=change(self.rider_callbacks, generate_secret) if self.rider_callbacks else (),
            console_tokens=change(self.console_tokens, generate_token),
        )

    def files(self) -> dict[str, str]:
        """Return the text of every file, by its path in the folder of the secrets."""
        tokens = [*(f"{CONSOLE}={token}" for token in self.console_tokens), *self.other_tokens]
        callbacks = {RIDER_CALLBACK_FILE: ",".join(self.rider_callbacks)} if self.rider_callbacks else {}
        return {
            **{_signing_file(caller): ",".join(self.signing[caller]) for caller in CALLERS},
            **{f"{s}/caller_secrets": ",".join(derive_caller_secrets(s, self.signing)) for s in PROCESSES},
            OPERATOR_TOKENS_FILE: ",".join(tokens),
            CONSOLE_TOKEN_FILE: self.console_tokens[0],
            **callbacks,
        }


def generate_key_ring(*, rider_callbacks: Secrets = ()) -> KeyRing:
    """Return a ring of new secrets; ``rider_callbacks``: those of riders' callbacks."""
    return KeyRing({caller: (generate_secret(),) for caller in CALLERS}, rider_callbacks, (generate_token(),))


def read_key_ring(folder: Path) -> KeyRing:
    """Read the ring from its files. Raises UserError."""
    try:
        tokens = split_secrets(read_secret(folder / OPERATOR_TOKENS_FILE))
        callbacks = folder / RIDER_CALLBACK_FILE
        return KeyRing(
            signing={caller: split_secrets(read_secret(folder / _signing_file(caller))) for caller in CALLERS},
            rider_callbacks=split_secrets(read_secret(callbacks)) if callbacks.exists() else (),
            console_tokens=tuple(t.removeprefix(f"{CONSOLE}=") for t in tokens if t.startswith(f"{CONSOLE}=")),
            other_tokens=tuple(t for t in tokens if not t.startswith(f"{CONSOLE}=")),
        )
    except OSError as error:
        raise UserError(
            f"the secrets in {folder} cannot be read: {error}",
            "run the command as the user that owns them, and name their folder with --secrets-dir",
        ) from error


def write_key_ring(folder: Path, ring: KeyRing) -> None:
    """Write every file of the ring; each appears at once, and keeps its owner and mode if it exists.

    Raises UserError.
    """
    try:
        for path, text in ring.files().items():
            replace_file(folder / path, text)
    except OSError as error:
        raise UserError(
            f"the secrets in {folder} cannot be written: {error}; those that were written are valid beside the others",
            "run the command again, as a user who may write there",
        ) from error


def age_s(folder: Path) -> float:
    """Return the seconds since the last rotation."""
    return max(0.0, time.time() - (folder / _signing_file(CONSOLE)).stat().st_mtime)


def fingerprint(secret: str) -> str:
    """Return a short name of a secret that does not give it away."""
    return sha256(secret.encode()).hexdigest()[:12]


def _signing_file(caller: str) -> str:
    return f"{caller}/signing_secrets"


def split_secrets(text: str) -> Secrets:
    """Return the secrets of a comma-separated text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
