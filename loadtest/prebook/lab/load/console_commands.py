"""`prebook load start|change|status|stop`: the load of the console, by the HTTP API that the control room uses too."""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
import rich_click as click

from prebook.contracts.back_pressure import BackPressure, BackPressureChange
from prebook.control_room.load_contract import LoadPhase, LoadPlan, LoadSettings, LoadShape, LoadState
from prebook.devstack.command_line import examples, run_interruptible
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import POSITIVE, combine, json_option
from prebook.devstack.ports import DEFAULT_PAGE_PORT, LOOPBACK
from prebook.devstack.suite_state import find_running_suite
from prebook.devstack.terminal import echo
from prebook.lab.suite_client.settings import (
    EnvironmentReader,
    InvalidEnvironment,
    parse_base_url,
    parse_non_empty,
)

PATH = "/v1/load"
BACK_PRESSURE_PATH = "/v1/back-pressure"
POSITIONS: Mapping[str, bool | None] = {"on": True, "off": False, "configured": None}
T = TypeVar("T", bound=msgspec.Struct)
TIMEOUT = aiohttp.ClientTimeout(total=15.0)
REMEDY = "it runs in the process of `prebook up`, or in the container `lab`: look there, or start the suite again"
SETTINGS_OPTIONS = (
    click.option("--rate", "rate_per_s", type=POSITIVE, help="Rides a second, over all plans."),
    click.option("--shape", type=click.Choice([shape.value for shape in LoadShape]), help="Arrival process."),
    click.option("--factor", type=POSITIVE, help="Peak of a step, spike or square wave, as a multiple of --rate."),
    click.option("--period", "period_s", type=POSITIVE, help="Seconds after which the shape repeats."),
    click.option(
        "--plan",
        "plans",
        type=click.Choice([plan.value for plan in LoadPlan]),
        multiple=True,
        help="Plan of the rides, or the suite's default plan; repeatable: every ride is then offered once by each.",
    ),
    click.option("--seed", type=click.IntRange(0, 2**31), help="Equal seeds offer equal rides at equal times."),
    json_option("Print settings and progress as one JSON object."),
)
settings_options = combine(*SETTINGS_OPTIONS)


@click.command(epilog=examples("prebook load start", "prebook load start --rate 20 --shape square --plan sync_api"))
@settings_options
def start(*, as_json: bool, **given: Any) -> None:
    """Start an open-loop load that goes on until `prebook load stop`, in place of one that runs.

    Rides arrive by the seed, whatever becomes of earlier ones. Refused riders come back when they are told to, up to
    three times. By default 5 rides a second arrive as a Poisson process, by the suite's default plan.
    """
    _print(_call("PUT", _changed(LoadSettings(), given)), as_json=as_json)


@click.command(epilog=examples("prebook load change --rate 40", "prebook load change --shape spike --factor 10"))
@settings_options
def change(*, as_json: bool, **given: Any) -> None:
    """Change the load that runs; what is not given stays. Rides that are offered already go on."""
    state = _call("GET")
    if state.phase is not LoadPhase.RUNNING or state.settings is None:
        raise UserError("no load runs", "start one: `prebook load start`")
    _print(_call("PUT", _changed(state.settings, given)), as_json=as_json)


@click.command(epilog=examples("prebook load status", "prebook load status --json | jq .progress"))
@json_option("Print settings and progress as one JSON object.")
def status(*, as_json: bool) -> None:
    """Print settings and progress of the load."""
    _print(_call("GET"), as_json=as_json)


@click.command(epilog=examples("prebook load stop"))
@json_option("Print settings and progress as one JSON object.")
def stop(*, as_json: bool) -> None:
    """Offer no more rides. Those that are offered go on, and `prebook load status` counts them."""
    _print(_call("DELETE"), as_json=as_json)


@click.command("back-pressure", epilog=examples("prebook load back-pressure", "prebook load back-pressure off"))
@click.argument("position", type=click.Choice(list(POSITIONS)), required=False)
@json_option()
def back_pressure(*, position: str | None, as_json: bool) -> None:
    """Show whether booking refuses rides that it could not settle in time, or switch that on or off at once.

    configured: as PREBOOK_BACK_PRESSURE says. A restart of booking keeps the position.
    """
    change = BackPressureChange(enabled=POSITIONS[position]) if position else None
    found = run_interruptible(_exchange("PUT" if change else "GET", BACK_PRESSURE_PATH, BackPressure, change))
    if as_json:
        echo(msgspec.json.encode(found))
    else:
        since = f", switched at {found.changed_at:%H:%M:%S} UTC" if found.changed_at else ", as configured"
        echo(f"back pressure is {'on' if found.enabled else 'off'}{since}")


def _changed(settings: LoadSettings, given: dict[str, Any]) -> LoadSettings:
    """Return the settings with the given options in their place. Raises UsageError if one is out of its bounds."""
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    try:
        return msgspec.convert({**msgspec.to_builtins(settings), **changes}, LoadSettings)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{error}") from error


def _call(method: str, settings: LoadSettings | None = None) -> LoadState:
    return run_interruptible(_exchange(method, PATH, LoadState, settings))


async def _exchange(method: str, path: str, response_type: type[T], change: msgspec.Struct | None) -> T:
    """Send a request to the control room, and return its response. Raises UserError."""
    page_url, token = _find_console()
    headers = {
        "host": LOOPBACK,  # the control room answers to no other name
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
    }
    body = msgspec.json.encode(change) if change else None
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.request(method, page_url + path, headers=headers, data=body) as response,
        ):
            content = await response.read()
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise UserError(f"the control room does not answer: {error or 'timed out'}", REMEDY) from error
    if response.status != 200:  # noqa: PLR2004  the only status of success here
        raise UserError(f"the control room answered {response.status}: {content[:200].decode()}", REMEDY)
    return msgspec.json.decode(content, type=response_type)


def _find_console() -> tuple[str, str]:
    """Return base URL and token of the configured control room, or of the running suite's. Raises UserError."""
    reader = EnvironmentReader(os.environ)
    token = reader.read_optional("PREBOOK_CONTROL_TOKEN_CONSOLE", parse_non_empty)
    url = reader.read_optional("PREBOOK_PAGE_URL", parse_base_url)
    if reader.problems:
        raise InvalidEnvironment(reader.problems)
    if token:
        return url or f"http://{LOOPBACK}:{DEFAULT_PAGE_PORT}", token
    suite = find_running_suite()
    return suite.page_url, suite.control_token


def _print(state: LoadState, *, as_json: bool) -> None:
    echo(msgspec.json.encode(state) if as_json else load_text(state))


def load_text(state: LoadState) -> str:
    """Return the state of a load as two lines for the terminal."""
    if state.settings is None:
        return "no load: `prebook load start` starts one"
    settings, progress = state.settings, state.progress
    plans = ", ".join(settings.plans)
    quantiles = _ms(progress.response_p50_ms), _ms(progress.response_p99_ms)
    return (
        f"{state.phase}: {settings.rate_per_s:g} rides/s, {settings.shape}, plans {plans}, seed {settings.seed}"
        f"{f'; {state.error}' if state.error else ''}\n"
        f"{progress.offered} offered: {progress.accepted} accepted ({progress.returned} after a refusal), "
        f"{progress.refused} refused, {progress.failed} failed, {progress.waiting} waiting; "
        f"response {quantiles[0]} (p50), {quantiles[1]} (p99)"
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
