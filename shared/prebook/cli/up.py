"""`prebook up`: a suite on this machine, until Ctrl-C."""

import contextlib

import msgspec
import rich_click as click

from prebook.control_room.local_suite import open_local_control_room
from prebook.devstack import command_line
from prebook.devstack.command_line import Interrupted, examples, log_to_stderr
from prebook.devstack.parameters import broker_nodes_option, json_option, seed_option
from prebook.devstack.ports import claim_ports
from prebook.devstack.service_environment import SuiteOptions, count_ports
from prebook.devstack.suite import launch
from prebook.devstack.suite_state import SuiteState
from prebook.devstack.terminal import echo
from prebook.runtime import paths

DEFAULT_PORT_BASE = 8080
LOG_LEVELS = ("debug", "info", "warning", "error")
PUBLIC_FIELDS = (
    "mode",
    "broker",
    "database",
    "urls",
    "internal_urls",
    "control_url",
    "page_url",
    "management_url",
    "owner_pid",
    "logs",
)
"""Fields of SuiteState without a secret: what is printed may end in a log."""
EXAMPLES = examples(
    "prebook up",
    "prebook up --port-base 9100 --no-plan-override",
    "PREBOOK_STACK=docker prebook up",
    "prebook up --broker-nodes 3 --fault-proxies",
)


@click.command(epilog=EXAMPLES)
@click.option("--no-plan-override", is_flag=True, help="Refuse bookings that choose their own couplings.")
@click.option(
    "--port-base",
    type=click.IntRange(1024, 65000),
    default=DEFAULT_PORT_BASE,
    show_default=True,
    help="Port of booking; the other services, the control API, the internal listeners and the control room follow.",
)
@broker_nodes_option
@click.option(
    "--fault-proxies",
    is_flag=True,
    envvar="PREBOOK_FAULT_PROXIES",
    help="Route broker, database and service connections through fault-injection proxies.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 4),
    default=1,
    show_default=True,
    envvar="PREBOOK_REPLICAS",
    help="Processes per service. Callers use the first one; the others consume and relay.",
)
@seed_option("Seed of the simulated fleets.")
@click.option(
    "--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="Log level of every service."
)
@json_option("Print addresses, versions and paths as one JSON line to stdout.")
def up(
    *,
    no_plan_override: bool,
    port_base: int,
    broker_nodes: str,
    fault_proxies: bool,
    replicas: int,
    seed: int,
    log_level: str,
    as_json: bool,
) -> None:
    """Start broker, database, services and the control room, and stay until Ctrl-C.

    The control room is a web page on this machine; its URL, printed once everything is up, opens one session.

    The data is removed when this command ends. To keep it, use a broker and a database of your own
    (PREBOOK_STACK=external with PREBOOK_DATABASE_URL, PREBOOK_AMQP_URL and PREBOOK_MANAGEMENT_URL), or `docker compose
    up`.
    """
    wanted = range(port_base, port_base + count_ports(replicas))
    ports = claim_ports(wanted, f"end that program, or choose other ports: `prebook up --port-base {port_base + 1000}`")
    options = SuiteOptions(
        ports=ports,
        allow_plan_override=not no_plan_override,
        seed=seed,
        log_level=log_level,
        fault_proxies=fault_proxies,
        broker_nodes=int(broker_nodes),
        replicas=replicas,
    )
    with contextlib.suppress(Interrupted):
        command_line.run_interruptible(_run_until_interrupted(options, as_json=as_json))


async def _run_until_interrupted(options: SuiteOptions, *, as_json: bool) -> None:
    home = paths.home_dir()
    async with (
        launch(home, options, log_to_stderr) as suite,
        open_local_control_room(home, options, suite.state) as page_url,
    ):
        if as_json:
            echo(msgspec.json.encode(_without_secrets(suite.state)))
        else:
            echo(_summary(suite.state, page_url))
        raise await suite.wait_until_broken()


def _without_secrets(state: SuiteState) -> dict[str, object]:
    return {name: getattr(state, name) for name in PUBLIC_FIELDS}


def _summary(state: SuiteState, page_url: str) -> str:
    urls = [f"  {service:<13} {url}  internal {state.internal_urls[service]}" for service, url in state.urls.items()]
    return "\n".join(
        [
            f"the suite is up on {state.broker} and {state.database} ({state.mode})",
            *urls,
            f"  {'API document':<13} {state.urls['booking']}/schema",
            f"  {'logs':<13} {state.logs}",
            f"  {'control room':<13} {page_url}",
            f"  {'':<13} opens once, in one browser; `prebook url` prints another one",
            "try: prebook load --quick    prebook ledger    prebook topology diff",
            "Ctrl-C stops it",
        ]
    )
