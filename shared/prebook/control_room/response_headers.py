"""Response headers of the control room: nothing from elsewhere is loaded, framed, sniffed or kept.

Source: Content Security Policy Level 3; OWASP, "HTTP Security Response Headers".
"""

from typing import Any

from litestar.types import ASGIApp

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def with_security_headers(app: ASGIApp) -> ASGIApp:
    """Return ``app`` with SECURITY_HEADERS on every response, also on errors."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message["headers"] if header[0].lower() != b"cache-control"]
                message = {**message, "headers": [*own, *SECURITY_HEADERS]}
            await send(message)

        await app(scope, receive, send_with_headers)

    return serve
