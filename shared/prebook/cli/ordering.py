"""`prebook held`: which conversations wait behind a failure, how long, and what else their partitions did meanwhile."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.cli.outbox import connected
from prebook.cli.parking.selection import as_json_option
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import Trouble
from prebook.flows import SERVICES
from prebook.messaging.policy import read_policies
from prebook.postgres.blast_radius import Blast, HeldKey
from prebook.rabbit.consumed_queues import Inbound, inbound_of
from prebook.runtime.paths import couplings_toml


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """``partitions`` by group."""

    partitions: dict[str, int]
    keys: list[HeldKey]


class Released(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    key: str
    parked: int
    """Messages that the key waits for no more."""


@click.group(
    epilog=examples(
        "prebook held list                                        which conversations wait, and behind what",
        "prebook held release notification.events.notify_rider bk_...",
    )
)
def held() -> None:
    """What waits so that conversations stay in order."""


@held.command("list", epilog=examples("prebook held list", "prebook held list --json | jq '.keys[] | {key, behind}'"))
@as_json_option
def list_(*, as_json: bool) -> None:
    """The blast radius of each failure: messages behind it, and other keys of its partition that went on."""
    found = command_line.run(_found())
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(_table(found))


@held.command(epilog=examples("prebook held release booking.facts bk_..."))
@click.argument("group")
@click.argument("key")
@as_json_option
def release(*, group: str, key: str, as_json: bool) -> None:
    """Let what waits behind a parked message of this key go on without it.

    The parked message stays in the parking: discard it there, or what is replayed later comes late.
    """
    released = command_line.run(_released(group, key))
    click.echo(msgspec.json.encode(released) if as_json else f"{key} of {group} waits for {released.parked} fewer")


async def _found() -> Found:
    groups = dict(_groups())
    async with connected() as connection:
        keys = [await Blast(connection, service, g.address, g.partitions).keys() for g, service in groups.items()]
    return Found(partitions={g.address: g.partitions for g in groups}, keys=[one for found in keys for one in found])


async def _released(group: str, key: str) -> Released:
    services = {inbound.address: (service, inbound) for inbound, service in _groups()}
    if group not in services:
        raise Trouble(f"{group} is no message group", f"choose one of {', '.join(services)}")
    service, inbound = services[group]
    async with connected() as connection:
        parked = await Blast(connection, service, group, inbound.partitions).release(key)
    if not parked:
        raise Trouble(f"{key} of {group} waits for no parked message", "`prebook held list` tells which do")
    return Released(group=group, key=key, parked=parked)


def _groups() -> Iterator[tuple[Inbound, str]]:
    policies = read_policies(couplings_toml())
    for service in SERVICES:
        yield from ((inbound, service) for inbound in inbound_of(service, policies) if inbound.partitions)


def _table(found: Found) -> Table:
    table = Table(title=f"{len(found.keys)} keys held, in {len(found.partitions)} groups")
    for name in ("group", "partition", "key", "first is", "held for", "behind it", "others went on", "why"):
        table.add_column(name, overflow="fold")
    now = datetime.now(UTC)
    for one in found.keys:
        waited = f"{(now - one.since).total_seconds():.1f} s"
        counts = (waited, str(one.behind), str(one.went_on))
        table.add_row(one.group, str(one.partition), one.key, one.standing, *counts, one.why)
    return table
