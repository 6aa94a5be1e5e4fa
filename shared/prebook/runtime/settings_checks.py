"""Checks of settings that a type does not express: secrets, and trusted proxies."""

from collections.abc import Collection, Sequence
from ipaddress import ip_network

from prebook.messaging.body_writer import UnknownForm, parse_formats, parse_versions
from prebook.patterns.signature import MAX_KEY_BYTES, MIN_KEY_BYTES, InvalidSecret, key_of
from prebook.runtime.environment import BadSettings

SECRET_FORMAT = (
    f"each is whsec_ and base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, or text of at least {MIN_KEY_BYTES}"
)


def split_caller_secrets(caller_secrets: Sequence[str]) -> list[tuple[str, str]]:
    """Return caller and secret of each of ``caller_secrets``."""
    return [(caller, secret) for caller, _, secret in (entry.partition("=") for entry in caller_secrets)]


def require_valid_secrets(variable: str, secrets: Sequence[str]) -> None:
    """Raise BadSettings if one of the secrets of an environment variable is malformed or too short."""
    for number, secret in enumerate(secrets, 1):
        try:
            key_of(secret)
        except InvalidSecret as error:
            raise BadSettings(f"{variable}: secret {number} {error}; `prebook secrets` generates valid ones") from None


def require_valid_forms(versions: Sequence[str], formats: Sequence[str]) -> None:
    """Raise BadSettings unless all messages, versions, flows, events and formats exist."""
    try:
        parse_versions(versions)
    except UnknownForm as error:
        raise BadSettings(f"PREBOOK_MESSAGE_VERSIONS: {error}; write entries such as find_driver=1") from None
    try:
        parse_formats(formats)
    except UnknownForm as error:
        raise BadSettings(f"PREBOOK_MESSAGE_FORMATS: {error}; write entries such as quote_fare=msgpack") from None


def require_valid_proxies(rider_header: str, trusted_proxies: Collection[str]) -> None:
    """Raise BadSettings unless the proxies are networks, and set together with the header that they set."""
    for network in sorted(trusted_proxies):
        try:
            ip_network(network)
        except ValueError as error:
            raise BadSettings(f"PREBOOK_TRUSTED_PROXIES: {error}; write networks such as 10.0.0.0/24") from None
    if bool(rider_header) is not bool(trusted_proxies):
        raise BadSettings(
            "PREBOOK_RIDER_HEADER and PREBOOK_TRUSTED_PROXIES are set together: the header is believed only from them"
        )
