"""`prebook ordering`: ordering keys that wait behind a failed message, and the progress of their partitions."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import rich_click as click
from rich.table import Table

from prebook.cli.suite_access import connect_database
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import apply_option, json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.flows import SERVICES
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import read_policies
from prebook.postgres.blast_radius import BlastRadius, BlockedKey
from prebook.runtime.paths import couplings_file
from prebook.topology.consumed_queues import ConsumedQueue, consumed_queues_of

RELEASE_EXAMPLE = "prebook ordering release notification.requests.notify_rider bk_..."


class BlockedKeyListing(msgspec.Struct, frozen=True, kw_only=True):
    """Blocked keys of the suite. ``partitions``: number of partitions by message group."""

    partitions: dict[str, int]
    keys: list[BlockedKey]


class KeyRelease(msgspec.Struct, frozen=True, kw_only=True):
    """Release of a key. ``dead_letters``: number of parked messages for which the key no longer waits.

    A dry run changes nothing; its number is what a release would find.
    """

    group: str
    key: str
    dry_run: bool
    dead_letters: int


@click.group(
    epilog=examples(
        "prebook ordering list                                        which ordering keys wait, and behind what",
        f"{RELEASE_EXAMPLE} --apply",
    )
)
def ordering() -> None:
    """Inspect and release ordering keys that wait behind a failed message, so that their messages stay in order."""


@ordering.command(
    "list", epilog=examples("prebook ordering list", "prebook ordering list --json | jq '.keys[] | {key, error}'")
)
@json_option()
def list_(*, as_json: bool) -> None:
    """List blocked keys with their blast radius: waiting messages, and unaffected keys of the same partition."""
    listing = command_line.run_interruptible(_read_blocked_keys())
    if as_json:
        echo(msgspec.json.encode(listing))
    else:
        PlainConsole().print(_table(listing))


@ordering.command(epilog=examples(RELEASE_EXAMPLE, f"{RELEASE_EXAMPLE} --apply"))
@click.argument("group")
@click.argument("key")
@apply_option("Release the key; without this option nothing is changed.")
@json_option()
def release(*, group: str, key: str, apply: bool, as_json: bool) -> None:
    """Release KEY of message group GROUP: its messages no longer wait for a parked message.

    A dry run, unless --apply is given. The dead letter stays parked. Discard it with `prebook parking`: a later replay
    of it would be out of order.
    """
    released = command_line.run_interruptible(_release(group, key, apply=apply))
    echo(msgspec.json.encode(released) if as_json else _release_text(released))


async def _read_blocked_keys() -> BlockedKeyListing:
    groups = dict(_message_groups())
    async with connect_database() as connection:
        keys = [
            await BlastRadius(connection, service, group.address, group.partitions).list_blocked_keys()
            for group, service in groups.items()
        ]
    return BlockedKeyListing(
        partitions={group.address: group.partitions for group in groups}, keys=[key for found in keys for key in found]
    )


async def _release(group: str, key: str, *, apply: bool) -> KeyRelease:
    groups = {queue.address: (service, queue) for queue, service in _message_groups()}
    if group not in groups:
        raise UserError(f"{group} is not a message group", f"choose one of {', '.join(groups)}")
    service, queue = groups[group]
    async with connect_database() as connection:
        blast_radius = BlastRadius(connection, service, group, queue.partitions)
        dead_letters = await (blast_radius.unblock(key) if apply else blast_radius.count_parked(key))
    if not dead_letters:
        remedy = "`prebook ordering list` shows the keys that do"
        raise UserError(f"{key} in {group} does not wait for a parked message", remedy)
    return KeyRelease(group=group, key=key, dry_run=not apply, dead_letters=dead_letters)


def _release_text(release: KeyRelease) -> str:
    parked = f"{release.dead_letters} parked message(s)"
    if release.dry_run:
        return f"would release {release.key} in {release.group}, which waits for {parked}; nothing changed, add --apply"
    return f"released {release.key} in {release.group}: it no longer waits for {parked}"


def _message_groups() -> Iterator[tuple[ConsumedQueue, str]]:
    """Yield every message group and the service that consumes it."""
    try:
        policies = read_policies(couplings_file())
    except InvalidPolicies as error:
        raise UserError(str(error), "set PREBOOK_COUPLINGS to a valid couplings.toml") from error
    for service in SERVICES:
        yield from ((queue, service) for queue in consumed_queues_of(service, policies) if queue.partitions)


def _table(listing: BlockedKeyListing) -> Table:
    table = Table(title=f"{len(listing.keys)} blocked keys, in {len(listing.partitions)} message groups")
    for name in ("group", "partition", "key", "status", "blocked for", "waiting", "unaffected keys", "error"):
        table.add_column(name, overflow="fold")
    now = datetime.now(UTC)
    for key in listing.keys:
        blocked_for = f"{(now - key.blocked_since).total_seconds():.1f} s"
        counts = (blocked_for, str(key.waiting_messages), str(key.unaffected_keys))
        table.add_row(key.group, str(key.partition), key.key, key.status, *counts, key.error)
    return table
