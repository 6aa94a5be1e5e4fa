"""Error responses as ``application/problem+json``. Source: RFC 9457."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap

from prebook.messaging.errors import Unreachable, error_summary
from prebook.patterns.trace import TraceContext, trace_id

MEDIA_TYPE = "application/problem+json"
_TRACE_KEY = "prebook_trace"
T = TypeVar("T")
log = structlog.get_logger()


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One invalid field of a request."""

    pointer: str
    """JSON pointer (RFC 6901) into the body, or the name of a header or query parameter."""
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of every error response."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    """A machine-readable code."""
    trace_id: str
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """Error that ends a request, raised by routes and use cases. ``detail`` names the problem and the remedy."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the responses with these error statuses for an OpenAPI description."""
    return {status: ResponseSpec(ProblemDetails, media_type=MEDIA_TYPE, generate_examples=False) for status in statuses}


def repeated_header(name: str, lines: int) -> Problem:
    """Return the refusal of a request with several lines of a header that has one value."""
    detail = f"has {lines} lines; send one"
    return Problem(400, "repeated_header", f"{name}: {detail}", errors=[FieldError(pointer=name, detail=detail)])


def found_or_404(found: T | None, code: str, detail: str) -> T:
    """Return ``found``. Raises Problem with status 404 if it is None."""
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, code, detail)
    return found


def retry_later_problem(status: int, code: str, reason: str, wait_s: float) -> Problem:
    """Return a refusal of a request that may be repeated unchanged after ``wait_s`` seconds."""
    retry_after = str(max(1, math.ceil(wait_s)))
    detail = f"{reason}; try again after {retry_after} s, with the same Idempotency-Key"
    return Problem(status, code, detail, headers={"retry-after": retry_after})


def combined_headers(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the headers of a request; values of a repeated header are joined. Source: RFC 9110, 5.3."""
    combined: dict[str, str] = {}
    for name, value in request.headers.multi_items():
        combined[name] = f"{combined[name]}, {value}" if name in combined else value
    return combined


def trace_of(request: Request[Any, Any, Any]) -> TraceContext:
    """Return the trace context of a request: a new span of the trace in its headers, or of a new trace.

    Repeated calls for one request return the same value.
    """
    scope: dict[str, Any] = request.scope  # type: ignore[assignment]  # Litestar's scope is a closed TypedDict
    if _TRACE_KEY not in scope:
        scope[_TRACE_KEY] = TraceContext.of(combined_headers(request)).child()
    context: TraceContext = scope[_TRACE_KEY]
    return context


def decode_problem(error: Exception) -> Problem:
    """Return the problem of a body that msgspec could not decode: 400 for malformed JSON, 422 for the wrong shape."""
    if not isinstance(error, msgspec.ValidationError):
        return Problem(400, "malformed_json", f"the body is not JSON ({error}); send one UTF-8 JSON object")
    message, _, path = str(error).partition(" - at `$")
    field_error = FieldError(pointer=_json_pointer(path.rstrip("`"), message), detail=message)
    detail = f"{field_error.pointer or 'the body'}: {message}; see /schema/openapi.json"
    return Problem(422, "invalid_body", detail, errors=[field_error])


def _json_pointer(path: str, message: str) -> str:
    """JSON pointer of a msgspec path such as ``.pickup.lat[0]``, with the unknown or missing field at its end."""
    parts = path.replace("[", ".").replace("]", "").split(".")[1:]
    named = message.split("`")[1] if "field `" in message else ""
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in [*parts, named] if part)


def encode_problem(problem: Problem, trace: TraceContext) -> bytes:
    """Return the body of a problem's response, which names the trace of the request."""
    details = ProblemDetails(
        type=f"urn:prebook:problem:{problem.code}",
        title=problem.code.replace("_", " ").capitalize(),
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        trace_id=trace_id(trace.traceparent),
        errors=problem.errors,
    )
    return msgspec.json.encode(details)


def problem_response(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    """Return the response of a problem, with the trace id of the request."""
    body = encode_problem(problem, trace_of(request))
    return Response(body, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def _handle_validation_error(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    extra = error.extra if isinstance(error.extra, list) else []
    errors = [FieldError(pointer=str(e.get("key", "")), detail=str(e.get("message", ""))) for e in extra]
    if [field.pointer for field in errors] == ["data"]:  # Litestar's name of an empty body
        return problem_response(
            request, Problem(400, "malformed_json", "the body is empty; send one UTF-8 JSON object")
        )
    detail = "; ".join(f"{field.pointer}: {field.detail}" for field in errors) or error.detail
    return problem_response(
        request, Problem(400, "invalid_parameter", f"{detail}; see /schema/openapi.json", errors=errors)
    )


def _handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Respond to an error of Litestar; the code is the name of the status, such as ``not_found``."""
    code = HTTPStatus(error.status_code).name.lower()
    return problem_response(request, Problem(error.status_code, code, error.detail, headers=error.headers))


def _handle_decode_error(request: Request[Any, Any, Any], error: msgspec.DecodeError) -> Response[bytes]:
    return problem_response(request, decode_problem(error))


def _handle_unexpected_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Respond with 500 and without internals; the log event with the same trace id has the traceback."""
    problem = Problem(500, "internal_error", "the service failed; try again, and report the trace_id if it persists")
    log.error("request failed", path=request.url.path, traceparent=trace_of(request).traceparent, exc_info=error)
    return problem_response(request, problem)


def _handle_unavailable(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Respond with 503, because a dependency of the service is unavailable and the request may succeed later."""
    retry_after_s = error.retry_after_s if isinstance(error, Unreachable) else None
    headers = {"retry-after": str(math.ceil(retry_after_s or 1))}
    log.warning(
        "dependency unavailable",
        path=request.url.path,
        traceparent=trace_of(request).traceparent,
        error=error_summary(error),
    )
    return problem_response(
        request,
        Problem(503, "unavailable", "a dependency is unavailable; try again after Retry-After", headers=headers),
    )


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    Problem: problem_response,
    ValidationException: _handle_validation_error,
    HTTPException: _handle_http_exception,
    msgspec.DecodeError: _handle_decode_error,
    Unreachable: _handle_unavailable,
    ConnectionError: _handle_unavailable,
    TimeoutError: _handle_unavailable,
    Exception: _handle_unexpected_error,
}
"""For Litestar(exception_handlers=...)."""
