"""HTTP statuses between services, and the errors that responses without a reply stand for."""

from prebook.coupling.ports import HttpResponse
from prebook.messaging.errors import Undeliverable, Unreachable

OK = 200
ACCEPTED = 202
NO_CONTENT = 204
NOT_FOUND = 404
TOO_MANY_REQUESTS = 429
MIN_SERVER_ERROR = 500


def error_from_response(service: str, response: HttpResponse) -> Unreachable | Undeliverable:
    """Return the error of a response that carries no reply, for the caller to raise.

    429 and 5xx: Unreachable, with the seconds of ``Retry-After``, since a retry may succeed. Otherwise: Undeliverable.
    ``service``: name of the service that sent the response.
    """
    text = f"{service} replied with status {response.status}"
    if response.status == TOO_MANY_REQUESTS or response.status >= MIN_SERVER_ERROR:
        retry_after = response.headers.get("retry-after", "")
        return Unreachable(text, reason="refused", retry_after_s=float(retry_after) if retry_after.isdigit() else None)
    return Undeliverable(f"{text}: {response.body[:200].decode(errors='replace')}")
