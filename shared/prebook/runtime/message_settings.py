"""Settings of the form in which a service sends its messages."""

from typing import Annotated, Literal

import msgspec

from prebook.messaging.codec import MAX_BODY_BYTES
from prebook.runtime.offer_settings import OfferSettings


class MessageSettings(OfferSettings, kw_only=True):
    """Versions, formats, history and claim checks of the messages that a service sends."""

    message_versions: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="comma-separated message=version of the messages that this service writes in an older version "
            "than the newest, because a receiver is not upgraded yet; it reads all versions",
            examples=["find_driver=1,booking_ended=2"],
        ),
    ] = ()
    message_formats: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="comma-separated flow=format or event=format, json or msgpack, of the messages that this "
            "service writes in another format than JSON; it reads both",
            examples=["quote_fare=msgpack,booking_ended=msgpack"],
        ),
    ] = ()
    message_history: Annotated[
        Literal["on", "off"],
        msgspec.Meta(
            description="on or off: whether each message that the service publishes lists its hops, that is its "
            "publications to the broker, in the header prebook-x-hops"
        ),
    ] = "on"
    claim_check_threshold_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1024,
            le=MAX_BODY_BYTES,
            description="bytes above which the body of a message stays in the sender's claim store, and the message "
            "carries a claim check",
        ),
    ] = 16 * 1024
    claim_check_lifetime_s: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            description="seconds that a body is kept in the claim store; 0: as long as archive, expiry, retries and "
            "parking require. A shorter value stops the service at its start",
        ),
    ] = 0.0
    claim_check_extension_s: Annotated[
        float,
        msgspec.Meta(
            ge=1,
            le=86_400,
            description="seconds between two extensions of the bodies that dead letters and unsent messages refer to; "
            "the same for all services",
        ),
    ] = 3_600.0
