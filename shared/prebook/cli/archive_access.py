"""Where the archive is, and whose inboxes can be asked: the environment says, else the suite that runs here."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from prebook.archive.receivers import Receiver
from prebook.cli.variables import told
from prebook.cli.whereabouts import running
from prebook.flows import SERVICES
from prebook.messaging.channel import Unreachable
from prebook.runtime import places
from prebook.runtime.stack.trouble import Trouble


class Named(msgspec.Struct, frozen=True):
    """PREBOOK_ARCHIVE_URL, or a file of that in PREBOOK_ARCHIVE_URL_FILE."""

    archive_url: Annotated[
        str, msgspec.Meta(pattern="^amqps?://", description="amqp://prebook_archivist:password@host:port/vhost")
    ]


@dataclass(frozen=True, repr=False)
class Access:
    """``urls``: service -> base URL of its HTTP; one that is not there cannot be asked."""

    archive_url: str
    urls: Mapping[str, str]

    def can_ask(self, receiver: Receiver) -> bool:
        return receiver.service in self.urls


def access() -> Access:
    """Raises Trouble where neither is there."""
    if {"PREBOOK_ARCHIVE_URL", "PREBOOK_ARCHIVE_URL_FILE"} & os.environ.keys():
        given = {service: os.environ.get(f"PREBOOK_URL_{service.upper()}", "") for service in SERVICES}
        return Access(told(Named).archive_url, {service: url for service, url in given.items() if url})
    suite = running(places.home())
    return Access(suite.archive_url, suite.urls)


def unread(error: Unreachable) -> Trouble:
    return Trouble(
        str(error), "`prebook doctor` tells whether the broker answers; `prebook topology diff`, what it lacks"
    )
