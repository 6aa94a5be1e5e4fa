"""Table of all couplings and their channels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prebook.contracts.plan import Coupling
from prebook.coupling.async_api import AsyncApi
from prebook.coupling.one_way import OneWay
from prebook.coupling.ports import HttpClient, Publisher
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.coupling.request_reply import RequestReply
from prebook.coupling.sync_api import SyncApi
from prebook.messaging.channel import Channel, CouplingTraits
from prebook.messaging.policy import Policies


@dataclass(frozen=True)
class Transports:
    """Dependencies of the channels."""

    http: HttpClient
    """Signs every call."""
    publisher: Publisher
    policies: Policies
    waiters: ReplyWaiters


CHANNEL_FACTORIES: Mapping[Coupling, Callable[[Transports], Channel]] = {
    Coupling.SYNC_API: lambda t: SyncApi(t.http, t.policies, t.waiters),
    Coupling.ASYNC_API: lambda t: AsyncApi(t.http),
    Coupling.ONE_WAY: lambda t: OneWay(t.publisher),
    Coupling.REQUEST_REPLY: lambda t: RequestReply(t.publisher),
}
"""Factory of the channel of each coupling."""
COUPLING_TRAITS: Mapping[Coupling, CouplingTraits] = {
    Coupling.SYNC_API: SyncApi.traits,
    Coupling.ASYNC_API: AsyncApi.traits,
    Coupling.ONE_WAY: OneWay.traits,
    Coupling.REQUEST_REPLY: RequestReply.traits,
}
"""Traits of the channel of each coupling."""


def build_channels(transports: Transports) -> dict[Coupling, Channel]:
    """Build one channel per coupling."""
    return {coupling: build(transports) for coupling, build in CHANNEL_FACTORIES.items()}
