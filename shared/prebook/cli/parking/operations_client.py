"""HTTP client of the running suite's operations service."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from prebook.cli.suite_access import current_user, find_operations
from prebook.devstack import command_line
from prebook.devstack.errors import UserError
from prebook.http.client import create_http_client, limit_exchange
from prebook.http.operator_guard import OPERATOR_HEADER
from prebook.messaging.errors import Unreachable

REQUEST_TIMEOUT_S = 30.0
MAX_USER_NAME_CHARS = 64
T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    """The members of a problem document that are shown. Source: RFC 9457."""

    detail: str
    code: str


def call_operations(
    response_type: type[T], method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None
) -> T:
    """Send one request and return its decoded response. Raises UserError with the reason that operations gives."""
    return command_line.run_interruptible(_call(response_type, method, path, body, query or {}))


async def stream_operations(path: str) -> AsyncIterator[bytes]:
    """Yield the chunks of a long response as they arrive. Raises UserError."""
    async with _exchange("GET", path, total_timeout_s=None, timeout=REQUEST_TIMEOUT_S) as response:
        async for chunk in response.aiter_bytes():
            yield chunk


async def _call(response_type: type[T], method: str, path: str, body: Any, query: Mapping[str, Any]) -> T:
    request: dict[str, Any] = {"params": query}
    if body:
        request |= {"content": msgspec.json.encode(body), "headers": {"content-type": "application/json"}}
    async with _exchange(method, path, total_timeout_s=REQUEST_TIMEOUT_S, **request) as response:
        text = await response.aread()
    return msgspec.json.decode(text, type=response_type)


@asynccontextmanager
async def _exchange(
    method: str, path: str, *, total_timeout_s: float | None, **request: Any
) -> AsyncIterator[httpx.Response]:
    """Send one request and yield its response, whose body is still to be read. Raises UserError."""
    operations = find_operations()
    url = operations.url
    authorization = {"authorization": f"Bearer {operations.token}", OPERATOR_HEADER: _user_name()}
    headers = {**request.pop("headers", {}), **authorization}
    try:
        async with (
            limit_exchange(url, total_timeout_s),
            create_http_client() as client,
            client.stream(method, url + path, headers=headers, **request) as response,
        ):
            if response.is_error:
                raise _problem_error(response.status_code, await response.aread())
            yield response
    except Unreachable as error:
        raise UserError(
            f"operations does not answer: {error}", "`prebook doctor` shows which service is not ready"
        ) from error


def _user_name() -> str:
    """Return the name of the user of this machine, as operations records it."""
    return re.sub(r"[^A-Za-z0-9_.@-]", "_", current_user())[:MAX_USER_NAME_CHARS]


def _problem_error(status: int, text: bytes) -> UserError:
    try:
        problem = msgspec.json.decode(text, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem(f"operations answered {status}", "unknown")
    return UserError(problem.detail, "`prebook parking list` and `prebook parking show ID` show the current state")
