"""Minimal HTTP applications that reply to a fare request: Starlette, FastAPI as in its documentation, and bare ASGI.

Starlette and FastAPI are optional packages; a row whose package cannot be imported is not measured.
"""

import importlib
import json
import os
import sys
from typing import Any

import uvicorn

FARE_CENTS = 2100


def quote_body(request: Any) -> dict[str, Any]:
    """Return the reply to a decoded fare request."""
    return {
        "fare": {"cents": FARE_CENTS, "currency": "EUR"},
        "discount": {"cents": 0, "currency": "EUR"},
        "valid_until": request["pickup_at"],
    }


def build_starlette() -> Any:
    """Return a Starlette application that decodes and encodes JSON without validation."""
    applications = importlib.import_module("starlette.applications")
    responses = importlib.import_module("starlette.responses")
    routing = importlib.import_module("starlette.routing")

    async def quote(request: Any) -> Any:
        return responses.JSONResponse(quote_body(await request.json()))

    return applications.Starlette(routes=[routing.Route("/quote", quote, methods=["POST"])])


def build_fastapi() -> Any:
    """Return a FastAPI application with a model for the request and one for the response."""
    create_model = importlib.import_module("pydantic").create_model
    place = create_model("Place", lat=float, lon=float)
    money = create_model("Money", cents=int, currency=str)
    request_model = create_model(
        "QuoteFare", pickup=place, dropoff=place, pickup_at=str, vehicle_class=str, passengers=int
    )
    response_model = create_model("FareQuoted", fare=money, discount=money, valid_until=str)
    app = importlib.import_module("fastapi").FastAPI()

    async def quote(request: Any) -> Any:
        return quote_body(request.model_dump())

    quote.__annotations__ = {"request": request_model, "return": response_model}
    app.post("/quote")(quote)
    return app


def build_asgi() -> Any:
    """Return an ASGI application without a framework, for measurements of the client alone.

    Any request with a body gets the reply, any other an empty object. Lifespan events are refused, which a server takes
    for missing support. Source: ASGI specification, Lifespan Protocol.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        request = (await receive())["body"]
        body = json.dumps(quote_body(json.loads(request)) if request else {}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


APPS = {"starlette": build_starlette, "fastapi": build_fastapi, "asgi": build_asgi}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in APPS:  # noqa: PLR2004 - program and one argument
        sys.exit(f"usage: python -m prebook.lab.bench.baselines.quote_apps {'|'.join(APPS)}, with BENCH_PORT set")
    port = int(os.environ["BENCH_PORT"])
    app = APPS[sys.argv[1]]()
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)
