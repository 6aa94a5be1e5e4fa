"""`prebook up`: the suite on this machine, until Ctrl-C."""

import contextlib

import msgspec
import rich_click as click

from prebook.devstack import command_line, parameters
from prebook.devstack.command_line import Interrupted, examples, say
from prebook.devstack.ports import claim
from prebook.devstack.service_environment import Terms
from prebook.devstack.suite import launched
from prebook.devstack.suite_state import Whereabouts
from prebook.flows import PROCESSES, SERVICES
from prebook.runtime import paths

PORT_BASE = 8080
EXAMPLES = examples(
    "prebook up",
    "prebook up --port-base 9100 --no-override",
    "PREBOOK_STACK=docker prebook up",
    "prebook up --broker-nodes 3 --links",
)


@click.command(epilog=EXAMPLES)
@click.option("--no-override", is_flag=True, help="Bookings may not bring couplings of their own.")
@click.option(
    "--port-base",
    type=click.IntRange(1024, 65000),
    default=PORT_BASE,
    show_default=True,
    help="booking listens here, the other services and the control API on the next ports.",
)
@parameters.broker_nodes
@click.option(
    "--links",
    is_flag=True,
    envvar="PREBOOK_LINKS",
    help="Put a TCP link that the control API can spoil before broker, database and each service.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 4),
    default=1,
    show_default=True,
    envvar="PREBOOK_REPLICAS",
    help="Of every service; callers know the first one, the others consume and relay.",
)
@click.option("--seed", default=7, show_default=True, help="What the simulated fleets draw from.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Where everything is, as one JSON line on stdout.")
def up(
    *,
    no_override: bool,
    port_base: int,
    broker_nodes: str,
    links: bool,
    replicas: int,
    seed: int,
    log_level: str,
    as_json: bool,
) -> None:
    """Start broker, database and services, and stay until Ctrl-C.

    The data lives as long as this command does. For data that stays, give parts of your own: PREBOOK_STACK=external
    with PREBOOK_DATABASE_URL, PREBOOK_AMQP_URL and PREBOOK_MANAGEMENT_URL, or use `docker compose up`.
    """
    wanted = range(port_base, port_base + len(PROCESSES) + 1 + (replicas - 1) * len(SERVICES))
    ports = claim(wanted, f"end that program, or choose other ports: `prebook up --port-base {port_base + 1000}`")
    terms = Terms(
        ports=ports,
        allow_plan_override=not no_override,
        seed=seed,
        log_level=log_level,
        links=links,
        broker_nodes=int(broker_nodes),
        replicas=replicas,
    )
    with contextlib.suppress(Interrupted):
        command_line.run(_stay(terms, as_json=as_json))


async def _stay(terms: Terms, *, as_json: bool) -> None:
    async with launched(paths.home(), terms, say) as suite:
        where = suite.whereabouts
        click.echo(msgspec.json.encode(_public(where)).decode() if as_json else _text(where))
        raise await suite.broken()


def _public(where: Whereabouts) -> dict[str, object]:
    """Without a secret: it may end in somebody's log."""
    names = ("mode", "broker", "database", "urls", "control_url", "management_url", "owner_pid", "logs")
    return {name: getattr(where, name) for name in names}


def _text(where: Whereabouts) -> str:
    urls = [f"  {service:<13} {url}" for service, url in where.urls.items()]
    return "\n".join(
        [
            f"the suite is up on {where.broker} and {where.database} ({where.mode})",
            *urls,
            f"  {'API document':<13} {where.urls['booking']}/schema",
            f"  {'logs':<13} {where.logs}",
            "try: prebook load --quick    prebook ledger    prebook topology diff",
            "Ctrl-C stops it",
        ]
    )
