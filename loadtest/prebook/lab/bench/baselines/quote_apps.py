"""The same question over HTTP by hand: Starlette reads JSON and answers JSON; FastAPI as its own pages show it.

Both are optional: where they cannot be imported their rows are not measured.
"""

import importlib
import os
import sys
from typing import Any

import uvicorn

FARE_CENTS = 2100


def quote_body(request: Any) -> dict[str, Any]:
    return {
        "fare": {"cents": FARE_CENTS, "currency": "EUR"},
        "discount": {"cents": 0, "currency": "EUR"},
        "valid_until": request["pickup_at"],
    }


def build_starlette() -> Any:
    applications, responses, routing = (
        importlib.import_module(f"starlette.{name}") for name in ("applications", "responses", "routing")
    )

    async def quote(request: Any) -> Any:
        return responses.JSONResponse(quote_body(await request.json()))

    return applications.Starlette(routes=[routing.Route("/quote", quote, methods=["POST"])])


def build_fastapi() -> Any:
    """With a model for the question and one for the answer."""
    create_model = importlib.import_module("pydantic").create_model
    place = create_model("Place", lat=float, lon=float)
    money = create_model("Money", cents=int, currency=str)
    wanted = create_model("QuoteFare", pickup=place, dropoff=place, pickup_at=str, vehicle_class=str, passengers=int)
    quoted = create_model("FareQuoted", fare=money, discount=money, valid_until=str)
    app = importlib.import_module("fastapi").FastAPI()

    async def quote(question: Any) -> Any:
        return quote_body(question.model_dump())

    quote.__annotations__ = {"question": wanted, "return": quoted}
    app.post("/quote")(quote)
    return app


APPS = {"starlette": build_starlette, "fastapi": build_fastapi}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in APPS:  # noqa: PLR2004 - the program's own name and one word
        sys.exit(f"usage: python -m prebook.lab.bench.baselines.quote_apps {'|'.join(APPS)}, with BENCH_PORT set")
    port = int(os.environ["BENCH_PORT"])
    app = APPS[sys.argv[1]]()
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)
