"""`prebook held`: which conversations wait behind a failure, how long, and what else their partitions did meanwhile."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.cli.outbox import connect_database
from prebook.cli.parking.selection import json_option
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.flows import SERVICES
from prebook.messaging.policy import read_policies
from prebook.postgres.blast_radius import BlastRadius, BlockedKey
from prebook.rabbit.consumed_queues import ConsumedQueue, consumed_queues_of
from prebook.runtime.paths import couplings_file


class BlockedKeyListing(msgspec.Struct, frozen=True, kw_only=True):
    """``partitions`` by group."""

    partitions: dict[str, int]
    keys: list[BlockedKey]


class KeyRelease(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    key: str
    dead_letters: int
    """Messages that the key waits for no more."""


@click.group(
    epilog=examples(
        "prebook held list                                        which conversations wait, and behind what",
        "prebook held release notification.events.notify_rider bk_...",
    )
)
def ordering() -> None:
    """What waits so that conversations stay in order."""


@ordering.command(
    "list", epilog=examples("prebook held list", "prebook held list --json | jq '.keys[] | {key, behind}'")
)
@json_option
def list_(*, as_json: bool) -> None:
    """The blast radius of each failure: messages behind it, and other keys of its partition that went on."""
    found = command_line.run_interruptible(_read_blocked_keys())
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(_table(found))


@ordering.command(epilog=examples("prebook held release booking.facts bk_..."))
@click.argument("group")
@click.argument("key")
@json_option
def release(*, group: str, key: str, as_json: bool) -> None:
    """Let what waits behind a parked message of this key go on without it.

    The parked message stays in the parking: discard it there, or what is replayed later comes late.
    """
    released = command_line.run_interruptible(_release(group, key))
    click.echo(
        msgspec.json.encode(released) if as_json else f"{key} of {group} waits for {released.dead_letters} fewer"
    )


async def _read_blocked_keys() -> BlockedKeyListing:
    groups = dict(_message_groups())
    async with connect_database() as connection:
        keys = [
            await BlastRadius(connection, service, g.address, g.partitions).list_blocked_keys()
            for g, service in groups.items()
        ]
    return BlockedKeyListing(
        partitions={g.address: g.partitions for g in groups}, keys=[one for found in keys for one in found]
    )


async def _release(group: str, key: str) -> KeyRelease:
    services = {inbound.address: (service, inbound) for inbound, service in _message_groups()}
    if group not in services:
        raise UserError(f"{group} is no message group", f"choose one of {', '.join(services)}")
    service, inbound = services[group]
    async with connect_database() as connection:
        parked = await BlastRadius(connection, service, group, inbound.partitions).unblock(key)
    if not parked:
        raise UserError(f"{key} of {group} waits for no parked message", "`prebook held list` tells which do")
    return KeyRelease(group=group, key=key, dead_letters=parked)


def _message_groups() -> Iterator[tuple[ConsumedQueue, str]]:
    policies = read_policies(couplings_file())
    for service in SERVICES:
        yield from ((inbound, service) for inbound in consumed_queues_of(service, policies) if inbound.partitions)


def _table(found: BlockedKeyListing) -> Table:
    table = Table(title=f"{len(found.keys)} keys held, in {len(found.partitions)} groups")
    for name in ("group", "partition", "key", "first is", "held for", "behind it", "others went on", "why"):
        table.add_column(name, overflow="fold")
    now = datetime.now(UTC)
    for one in found.keys:
        waited = f"{(now - one.blocked_since).total_seconds():.1f} s"
        counts = (waited, str(one.waiting_messages), str(one.unaffected_keys))
        table.add_row(one.group, str(one.partition), one.key, one.status, *counts, one.error)
    return table
