"""Methods that every application handles: HEAD of a resource with GET, and OPTIONS of the server itself.

Source: RFC 9110, sections 9.1, 9.3.2 and 9.3.7.
"""

from typing import Any

from litestar import Litestar

ALLOW = b"allow"
SERVER_TARGET = "*"
"""Request target of OPTIONS that means the server, not a resource."""


class HttpMethodsApp(Litestar):
    """An application that handles HEAD as GET, sends no body in response, and lists HEAD in ``Allow`` next to GET.

    ``OPTIONS *`` gets all methods that one of the resources has.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one connection. Litestar knows only the methods that were registered on a path."""
        if scope["type"] != "http" or scope["method"] in {"GET", "POST"}:
            await super().__call__(scope, receive, send)
            return
        if scope["path"] == SERVER_TARGET:
            await self._send_methods(send)
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

    async def _send_methods(self, send: Any) -> None:
        methods = {str(method) for route in self.routes for method in getattr(route, "methods", ())}
        allow = ", ".join(sorted(methods | {"HEAD"})).encode()
        await send({"type": "http.response.start", "status": 204, "headers": [(ALLOW, allow)]})
        await send({"type": "http.response.body", "body": b""})


def _with_head(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    methods = set(value.decode().split(", "))
    if name != ALLOW or "GET" not in methods:
        return name, value
    return name, ", ".join(sorted(methods | {"HEAD"})).encode()
