"""The running suite's operations service, as the command line asks it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from prebook.devstack import command_line
from prebook.devstack.errors import UserError
from prebook.devstack.suite_state import read_suite_state
from prebook.flows import OPERATIONS
from prebook.runtime import paths

REQUEST_TIMEOUT_S = 30.0
T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    """What is read of problem+json."""

    detail: str
    code: str


def call_operations(
    response_type: type[T], method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None
) -> T:
    """The answer. Raises Trouble with the reason that operations gives."""
    return command_line.run_interruptible(_call(response_type, method, path, body, query or {}))


async def stream_operations(path: str) -> AsyncIterator[bytes]:
    """A long answer, as it comes. Raises Trouble."""
    url = _url()
    try:
        async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
            _raise_for_problem(answer.status, b"" if answer.ok else await answer.read())
            async for chunk in answer.content.iter_any():
                yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unreachable(url, error) from error


async def _call(response_type: type[T], method: str, path: str, body: Any, query: Mapping[str, Any]) -> T:
    url, timeout = _url(), aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    sent, headers = (msgspec.json.encode(body), {"content-type": "application/json"}) if body else (None, {})
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url + path, params=query, data=sent, headers=headers) as answer,
        ):
            text = await answer.read()
            _raise_for_problem(answer.status, text)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unreachable(url, error) from error
    return msgspec.json.decode(text, type=response_type)


def _url() -> str:
    return read_suite_state(paths.home_dir()).urls[OPERATIONS]


def _raise_for_problem(status: int, text: bytes) -> None:
    if status < 400:  # noqa: PLR2004 - HTTP's own boundary between answers and refusals
        return
    try:
        problem = msgspec.json.decode(text, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(f"operations answered {status}", "unknown")
    raise UserError(problem.detail, "`prebook parking list` and `prebook parking show ID` tell what is there")


def _unreachable(url: str, error: Exception) -> UserError:
    return UserError(
        f"operations ({url}) does not answer: {error}", "`prebook doctor` tells which service is not ready"
    )
