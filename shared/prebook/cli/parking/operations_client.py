"""The running suite's operations service, as the command line asks it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from prebook.devstack import command_line
from prebook.devstack.errors import Trouble
from prebook.devstack.suite_state import running
from prebook.flows import OPERATIONS
from prebook.runtime import paths

ASK_WITHIN_S = 30.0
T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    """What is read of problem+json."""

    detail: str
    code: str


def asked(kind: type[T], method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> T:
    """The answer. Raises Trouble with the reason that operations gives."""
    return command_line.run(_asked(kind, method, path, body, query or {}))


async def chunks(path: str) -> AsyncIterator[bytes]:
    """A long answer, as it comes. Raises Trouble."""
    url = _url()
    try:
        async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
            _checked(answer.status, b"" if answer.ok else await answer.read())
            async for chunk in answer.content.iter_any():
                yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unheard(url, error) from error


async def _asked(kind: type[T], method: str, path: str, body: Any, query: Mapping[str, Any]) -> T:
    url, timeout = _url(), aiohttp.ClientTimeout(total=ASK_WITHIN_S)
    sent, headers = (msgspec.json.encode(body), {"content-type": "application/json"}) if body else (None, {})
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url + path, params=query, data=sent, headers=headers) as answer,
        ):
            text = await answer.read()
            _checked(answer.status, text)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unheard(url, error) from error
    return msgspec.json.decode(text, type=kind)


def _url() -> str:
    return running(paths.home()).urls[OPERATIONS]


def _checked(status: int, text: bytes) -> None:
    if status < 400:  # noqa: PLR2004 - HTTP's own boundary between answers and refusals
        return
    try:
        problem = msgspec.json.decode(text, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(f"operations answered {status}", "unknown")
    raise Trouble(problem.detail, "`prebook parking list` and `prebook parking show ID` tell what is there")


def _unheard(url: str, error: Exception) -> Trouble:
    return Trouble(f"operations ({url}) does not answer: {error}", "`prebook doctor` tells which service is not ready")
