"""HEAD, which every resource with GET supports: the same response without its body.

Source: RFC 9110, sections 9.1 and 9.3.2.
"""

from typing import Any

from litestar import Litestar

ALLOW = b"allow"


class HeadApp(Litestar):
    """An application that handles HEAD as GET, sends no body in response, and lists HEAD in ``Allow`` next to GET."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one connection. Litestar knows only the methods that were registered on a path."""
        if scope["type"] != "http" or scope["method"] in {"GET", "POST"}:
            await super().__call__(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def send_adapted(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [_with_head(*header) for header in message["headers"]]
            elif is_head and message.get("more_body"):
                return
            elif is_head:
                message["body"] = b""
            await send(message)

        # A copy: the server reads the method of the original when it writes the response.
        adapted: Any = {**scope, "method": "GET"} if is_head else scope
        await super().__call__(adapted, receive, send_adapted)


def _with_head(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    methods = set(value.decode().split(", "))
    if name != ALLOW or "GET" not in methods:
        return name, value
    return name, ", ".join(sorted(methods | {"HEAD"})).encode()
