"""Secrets of the calls between services: each signs with its own, and each verifies with secrets derived for it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

from prebook.flows import callers_of
from prebook.patterns.call_signature import CallerKeys, derive_secret
from prebook.patterns.signature import key_of
from prebook.runtime.settings_checks import split_caller_secrets


def derive_caller_secrets(receiver: str, signing_secrets: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the ``caller_secrets`` of a service, given the signing secrets of its possible callers by name."""
    return tuple(
        f"{caller}={derive_secret(secret, receiver)}"
        for caller in sorted(callers_of(receiver))
        for secret in signing_secrets[caller]
    )


@lru_cache
def caller_keys(caller_secrets: tuple[str, ...]) -> CallerKeys:
    """Return the keys by which a service verifies the calls of each caller, given its ``caller_secrets``."""
    keys: dict[str, list[bytes]] = defaultdict(list)
    for caller, secret in split_caller_secrets(caller_secrets):
        keys[caller].append(key_of(secret))
    return dict(keys)
