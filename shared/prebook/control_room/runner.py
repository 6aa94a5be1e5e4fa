"""The control room of one suite: the page, its feed and its observer, for as long as the console runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prebook.control_room.app import PageAddress, create_control_room
from prebook.control_room.backlog import Backlogs
from prebook.control_room.conversation_routes import conversation_routes
from prebook.control_room.conversations import ConversationReader
from prebook.control_room.dead_letters import DeadLettersSource, OperatorAccess, dead_letter_routes
from prebook.control_room.default_plan import plan_routes
from prebook.control_room.drawing import queue_legs
from prebook.control_room.fault_routes import fault_routes
from prebook.control_room.faults import FaultDesk, commands_with
from prebook.control_room.feed import Feed
from prebook.control_room.load import LoadDesk, load_routes, worker_with
from prebook.control_room.observer import Observer, Source
from prebook.control_room.routes import api_routes
from prebook.control_room.server import serve_page
from prebook.control_room.sessions import Sessions
from prebook.control_room.sources import BookingReader, LedgerSource, MetricsSource, QueuesSource, SwitchesSource
from prebook.control_room.upstream import Upstream
from prebook.flows import CONSOLE
from prebook.http.client import create_http_client
from prebook.http.signed_client import CallAuth
from prebook.rabbit.management import ManagementClient

CALL_TIMEOUT_S = 5.0
"""Seconds for a call to an internal listener."""


@dataclass(frozen=True, repr=False, kw_only=True)
class SuiteAccess:
    """Addresses and credentials by which the console reaches its suite."""

    process_urls: Mapping[str, str]
    """Base URL of the internal listener of each process, replicas included."""
    booking_url: str
    """Base URL of booking's public listener."""
    console_secrets: Callable[[], Sequence[str]]
    """Returns the active secrets by which the console signs its calls."""
    operations: OperatorAccess
    management_url: str
    management_user: str
    management_password: str
    control_token_sha256: str
    """Digest of the token by which commands use the control room."""
    environment: Mapping[str, str]
    """Variables by which commands of the console find the suite, in addition to the process's own."""

    def sign_for(self, service: str) -> Callable[[], CallAuth]:
        """Return what signs calls to the internal listener of a service, by the secrets of the moment."""
        return lambda: CallAuth(CONSOLE, self.console_secrets(), service)


@asynccontextmanager
async def open_control_room(address: PageAddress, suite: SuiteAccess, host: str, port: int) -> AsyncIterator[Sessions]:
    """Serve the control room while the block runs; yield its sessions.

    ``host`` and ``port`` are where it listens; ``address`` differs from them where a container publishes the port.
    Raises UserError if the port is taken.
    """
    sessions = Sessions()
    feed = Feed()
    management = ManagementClient(suite.management_url, suite.management_user, suite.management_password)
    async with create_http_client() as client, management:
        reader = BookingReader(client, suite.process_urls["booking"], suite.sign_for("booking"))
        backlogs = Backlogs(queue_legs())
        sources: list[Source] = [
            MetricsSource(client, suite.process_urls, backlogs),
            QueuesSource(management, backlogs),
            LedgerSource(reader),
            SwitchesSource(reader),
            DeadLettersSource(client, suite.operations),
        ]
        observing = asyncio.create_task(Observer(feed, sources).run())
        desk = FaultDesk(feed, commands_with(suite.environment))
        load = LoadDesk(feed, worker_with(suite.environment))
        booking = Upstream(client, "booking", suite.process_urls["booking"], CALL_TIMEOUT_S, suite.sign_for("booking"))
        routes = [
            *api_routes(feed, client, suite.booking_url),
            *plan_routes(booking),
            *dead_letter_routes(client, suite.operations),
            *fault_routes(desk),
            *load_routes(load, booking),
            *conversation_routes(ConversationReader(client, suite.process_urls, suite.console_secrets)),
        ]
        app = create_control_room(address, sessions, suite.control_token_sha256, routes)
        try:
            async with serve_page(app, host, port):
                try:
                    yield sessions
                finally:
                    feed.close()
        finally:
            observing.cancel()
            await asyncio.wait([observing])
            await desk.close()
            await load.close()
