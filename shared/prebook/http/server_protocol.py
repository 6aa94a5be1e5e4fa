"""HTTP/1.1 connection of a server, with limits in bytes and time, whose every error is a problem document.

It changes uvicorn's protocol over httptools in what that leaves open: the size and time of a head, the time of a body,
unread responses, the number of connections, pipelined requests, upgrades, trailers, and errors of the framing.
"""

import asyncio
from functools import partial
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from prebook.http.connections import KIB, NEVER, Connections, HoldingFlow
from prebook.http.problems import Problem
from prebook.http.refusals import (
    REQUEST_TIMEOUT,
    encode_refusal,
    head_too_large,
    request_too_large,
    target_too_long,
)
from prebook.http.request_head import check_fields, malformed_request, normalise_target

SLICE_BYTES = 4 * KIB
"""Bytes given to the parser at a time, which bounds the requests that wait for the response to an earlier one."""


_IDLE = "between two requests"
_HEAD = "in the head of a request"
_BODY = "in the body of a request"
_ENDED = "nothing is read any more: the client sent `Connection: close`, or a request was refused"
"""Where a connection is in what it reads."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. ``Config(http=serve_with(connections))`` makes uvicorn use it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        registry: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._registry = registry
        self._limits = registry.limits
        self._keep_alive_ticks = registry.ticks(config.timeout_keep_alive)
        self.port = 0
        self.peer = ""
        self.deadline = NEVER
        self.url = b""
        self._phase = _IDLE
        self._received = 0
        """Bytes received for the request that is being read; without its beginning if that came with an earlier one."""
        self._began_with_another = False
        self._unparsed = b""
        self._upgrade: bytes | None = None
        """Head, without its upgrade, of a request that the parser took for the last one in HTTP."""
        self._head_problem: Problem | None = None
        self._refusal: Problem | None = None
        """Refusal to send after the responses to earlier requests."""
        self._ticks_unwritten = 0
        self._use_strict_parser()

    def _use_strict_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection, or refuse it above a limit."""
        super().connection_made(transport)
        self.flow: HoldingFlow = HoldingFlow(transport)
        self.port = (self.server and self.server[1]) or 0
        refusal = self._registry.add(self, self.client[0] if self.client else "")
        if refusal is None:
            self.deadline = self._registry.tick + self._registry.head_ticks
        elif refusal.has_response:
            self._refuse(refusal.problem)
        else:
            self._registry.report(refusal.problem.code)
            self._phase = _ENDED
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._registry.discard(self)
        self._unparsed = b""

    # Reading

    def data_received(self, data: bytes) -> None:
        """Parse what was received, within the limits."""
        if self._phase is _ENDED:
            return
        if self._phase is _IDLE:
            self._phase = _HEAD
            self._began_with_another = False
            self.deadline = self._registry.tick + self._registry.head_ticks
        self._received += len(data)
        if self.pipeline or len(data) > SLICE_BYTES:
            self._unparsed += data
            self._parse_slices()
        else:
            self._parse(data)
        if self._received > self._limits.max_head_bytes:
            self._check_size()

    def _parse_slices(self) -> None:
        """Parse what was received until a request has to wait for the response to an earlier one."""
        unparsed = self._unparsed
        start = 0
        while start < len(unparsed) and not self.pipeline and self._phase is not _ENDED:
            self._parse(unparsed[start : start + SLICE_BYTES])
            start += SLICE_BYTES
        self._unparsed = b"" if self._phase is _ENDED else unparsed[start:]

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self._head_problem is not None:
                self._refuse(self._head_problem)
            elif self.cycle is not None and not self.cycle.keep_alive and self._phase is _IDLE:
                self._phase = _ENDED  # data after `Connection: close`
            else:
                starts_request = self._received == len(data) and not self._began_with_another
                self._refuse(malformed_request(error, data, starts_request=starts_request))

    def _read_on_without_upgrade(self, rest: bytes) -> None:
        """Handle a request as if it asked for no other protocol, and what follows it. Source: RFC 9110, 7.8.

        The parser stops at such a request, and would take its body for the next one.
        """
        self._use_strict_parser()
        head = self._upgrade or b""
        self._upgrade = None
        self._parse(head + rest)

    def _check_size(self) -> None:
        if self._phase is _HEAD:
            self._refuse(self._too_large_head())
        elif self._phase is _BODY and self._received > self._limits.max_request_bytes:
            self._refuse(request_too_large(self._limits.max_request_bytes))

    # Callbacks of the parser. A Problem that they raise ends the reading.

    def on_message_begin(self) -> None:
        """Start to read a head."""
        super().on_message_begin()
        self._phase = _HEAD
        if self.deadline == NEVER:
            self.deadline = self._registry.tick + self._registry.head_ticks

    def on_headers_complete(self) -> None:
        """Check the head, and handle the request. Raises Problem."""
        try:
            self._handle_head()
        except Problem as problem:
            self._head_problem = problem  # the parser's error may have that of an earlier request as its context
            raise

    def _handle_head(self) -> None:
        method = self.parser.get_method().decode()
        version = self.parser.get_http_version()
        headers = self.headers
        if self._received > self._limits.max_target_bytes or self._began_with_another:
            self._check_exact_size()
        check_fields(method, version, headers)
        self.url = normalise_target(self.url, method, headers)
        if self.parser.should_upgrade():
            self._upgrade = self._head_without_upgrade(method, version)
            return
        self._start_request(method, version)
        self.headers = []  # trailers are no headers
        self._phase = _BODY
        self.deadline = self._registry.tick + self._registry.body_ticks

    def _start_request(self, method: str, version: str) -> None:
        """Call the application, or let the request wait for the response to an earlier one."""
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode()
        self.scope["method"] = method
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = query
        earlier = self.cycle
        # A client that gets its response without `100 Continue` may leave out the body: what follows is unclear.
        keep_alive = version != "1.0" and not self.expect_100_continue and self.parser.should_keep_alive()
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version != "1.0",
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if earlier is None or earlier.response_complete:
            self._run(self.cycle)
        else:
            self.flow.pause_reading()
            self.flow.held = True
            self.pipeline.appendleft((self.cycle, self.app))

    def _run(self, cycle: RequestResponseCycle) -> None:
        task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _check_exact_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)
        if size > self._limits.max_head_bytes or len(self.url) > self._limits.max_target_bytes:
            raise self._too_large_head()

    def _too_large_head(self) -> Problem:
        if len(self.url) > self._limits.max_target_bytes:
            return target_too_long(self._limits.max_target_bytes)
        return head_too_large(self._limits.max_head_bytes)

    def _head_without_upgrade(self, method: str, version: str) -> bytes:
        lines = [f"{method} ".encode() + self.url + f" HTTP/{version}".encode()]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        if self._upgrade is not None:
            return
        super().on_message_complete()
        self._phase = _IDLE
        self._received = 0
        self._began_with_another = True
        is_answered = self.cycle.response_complete and not self.pipeline
        self.deadline = self._registry.tick + self._keep_alive_ticks if is_answered else NEVER

    # Responding

    def on_response_complete(self) -> None:
        """Handle the next request, refuse it, or wait for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._run(self.pipeline.pop()[0])
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self._phase is _IDLE:
            self.deadline = self._registry.tick + self._keep_alive_ticks
        if self._unparsed and not self.pipeline:
            self._parse_slices()
        if not self.pipeline:
            self.flow.held = False
            self.flow.resume_reading()

    def _refuse(self, problem: Problem) -> None:
        """Stop reading, and respond with ``problem`` once earlier requests have their responses."""
        self._registry.report(problem.code)
        is_in_body = self._phase is _BODY
        self._phase = _ENDED
        self._unparsed = b""
        self.deadline = NEVER
        if is_in_body and self.pipeline:
            self.pipeline.popleft()  # the refused request has not been started
        elif is_in_body and not self.cycle.response_started:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._send_refusal(problem)
            return
        elif is_in_body:
            self._end_after_response()
            return
        if self.cycle is None or (self.cycle.response_complete and not self.pipeline):
            self._send_refusal(problem)
        else:
            self._refusal = problem

    def _end_after_response(self) -> None:
        if self.cycle.response_complete:
            self._linger()
        else:
            self.cycle.keep_alive = False

    def _send_refusal(self, problem: Problem) -> None:
        self.transport.write(encode_refusal(problem, self.server_state.default_headers))
        self._linger()

    def _linger(self) -> None:
        """End the sending, and discard what arrives for a moment: a reset could reach the client before the response.

        Source: RFC 9112, 9.6.
        """
        self._refusal = None
        self.deadline = self._registry.tick + self._registry.linger_ticks
        self.flow.held = False
        self.flow.resume_reading()
        if not self.transport.is_closing():
            self.transport.write_eof()

    # Deadlines

    @property
    def is_kept_alive(self) -> bool:
        """Whether the connection has served requests and waits for another one."""
        return self._phase is _IDLE and self.deadline != NEVER and self.cycle is not None

    def expire(self) -> None:
        """Refuse a request that has not arrived in time, or close a connection without one."""
        if self._phase is _ENDED:
            self.transport.abort()
        elif self.flow.read_paused:
            self.deadline = self._registry.tick + self._registry.body_ticks
        elif self._phase is _IDLE:
            self.transport.close()
        else:
            self._refuse(REQUEST_TIMEOUT)

    def resume_writing(self) -> None:
        """Let the application write on: the client has read."""
        self._ticks_unwritten = 0
        super().resume_writing()

    def check_written(self) -> None:
        """Reset the connection if its client has taken nothing for too long."""
        if not self.transport.get_write_buffer_size():
            self._ticks_unwritten = 0
            return
        self._ticks_unwritten += 1
        if self._ticks_unwritten * self._limits.tick_s > self._limits.write_timeout_s:
            self._registry.report("response_not_read")
            self.transport.abort()


def serve_with(registry: Connections) -> type[asyncio.Protocol]:
    """Return the protocol for ``uvicorn.Config(http=...)``; its connections are registered in ``registry``."""
    return cast("type[asyncio.Protocol]", partial(BoundedHttpProtocol, registry=registry))
