"""HTTP client of the running suite's operations service."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from prebook.cli.suite_access import operations_url
from prebook.devstack import command_line
from prebook.devstack.errors import UserError

REQUEST_TIMEOUT_S = 30.0
MIN_ERROR_STATUS = 400
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
    url = operations_url()
    try:
        async with aiohttp.ClientSession() as session, session.get(url + path) as response:
            _raise_for_problem(response.status, b"" if response.ok else await response.read())
            async for chunk in response.content.iter_any():
                yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unreachable(url, error) from error


async def _call(response_type: type[T], method: str, path: str, body: Any, query: Mapping[str, Any]) -> T:
    url = operations_url()
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    encoded, headers = (msgspec.json.encode(body), {"content-type": "application/json"}) if body else (None, {})
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url + path, params=query, data=encoded, headers=headers) as response,
        ):
            text = await response.read()
            _raise_for_problem(response.status, text)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unreachable(url, error) from error
    return msgspec.json.decode(text, type=response_type)


def _raise_for_problem(status: int, text: bytes) -> None:
    if status < MIN_ERROR_STATUS:
        return
    try:
        problem = msgspec.json.decode(text, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(f"operations answered {status}", "unknown")
    raise UserError(problem.detail, "`prebook parking list` and `prebook parking show ID` show the present state")


def _unreachable(url: str, error: Exception) -> UserError:
    return UserError(
        f"operations ({url}) does not answer: {error}", "`prebook doctor` shows which service is not ready"
    )
