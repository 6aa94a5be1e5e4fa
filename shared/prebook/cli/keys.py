"""`prebook keys`: list and rotate the secrets that sign calls and callbacks, and the console's token at operations."""

from pathlib import Path

import msgspec
import rich_click as click
from rich.table import Table

from prebook.devstack import key_ring
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.key_ring import MAX_ACTIVE, KeyRing, read_key_ring, write_key_ring
from prebook.devstack.parameters import Decorator, FiniteRange, apply_option, json_option
from prebook.devstack.suite_state import change_suite_state, read_suite_state
from prebook.devstack.terminal import PlainConsole, echo
from prebook.runtime import paths
from prebook.runtime.secret_reload import RELOAD_INTERVAL_S

MIN_AGE_S = 60.0
"""Default age of a rotation before its old secrets are retired: services reload within seconds, a paused one later."""


class ActiveKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Active secrets of one use, by their fingerprints, the newest first."""

    use: str
    fingerprints: tuple[str, ...]


class KeyListing(msgspec.Struct, frozen=True, kw_only=True):
    """Active secrets. ``changed_s_ago``: seconds since the last rotation or retirement.

    A dry run shows what a change would leave active, without the fingerprints of secrets that it would generate.
    """

    secrets_dir: str
    changed_s_ago: float
    dry_run: bool
    keys: list[ActiveKeys]


def secrets_dir_option() -> Decorator:
    """Decorator that adds ``--secrets-dir``; None stands for the running suite's."""
    return click.option(
        "--secrets-dir",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Folder that `prebook secrets` has written; that of the running suite by default.",
    )


@click.group(
    epilog=examples(
        "prebook keys list",
        "prebook keys rotate --apply     new secrets sign beside the old ones",
        "prebook keys retire --apply     once riders' systems know the new secret",
        "docker compose run --rm secrets keys rotate --secrets-dir /run/prebook --apply",
    )
)
def keys() -> None:
    """Rotate the secrets of calls between services and of riders' callbacks, and the console's token, under load.

    Services reload them within seconds, without a restart. During a rotation every active secret signs and verifies.
    """


@keys.command("list", epilog=examples("prebook keys list", "prebook keys list --json | jq '.keys[].fingerprints'"))
@secrets_dir_option()
@json_option()
def list_(*, secrets_dir: Path | None, as_json: bool) -> None:
    """List the active secrets by their fingerprints, the newest first."""
    folder = secrets_dir or _suite_folder()
    _print(_listing(folder, read_key_ring(folder), dry_run=False), as_json=as_json)


@keys.command(epilog=examples("prebook keys rotate", "prebook keys rotate --apply"))
@secrets_dir_option()
@apply_option("Generate the secrets; without this option nothing is changed.")
@json_option()
def rotate(*, secrets_dir: Path | None, apply: bool, as_json: bool) -> None:
    """Add new secrets. The old ones stay active, so that no call and no callback is refused.

    A dry run, unless --apply is given. Tell riders' systems their new secret before `prebook keys retire`.
    """
    folder = secrets_dir or _suite_folder()
    ring = read_key_ring(folder)
    if any(len(active) >= MAX_ACTIVE for active in ring.holders().values()):
        raise UserError(
            f"{MAX_ACTIVE} secrets are active already", "retire the old ones first: `prebook keys retire --apply`"
        )
    _change(folder, ring.rotated(), is_suite=secrets_dir is None, apply=apply, as_json=as_json)


@keys.command(epilog=examples("prebook keys retire", "prebook keys retire --apply --min-age-s 86400"))
@secrets_dir_option()
@click.option(
    "--min-age-s",
    type=FiniteRange(min=2 * RELOAD_INTERVAL_S),
    default=MIN_AGE_S,
    show_default=True,
    help="Refuse if the rotation was less than this many seconds ago.",
)
@apply_option("Remove the old secrets; without this option nothing is changed.")
@json_option()
def retire(*, secrets_dir: Path | None, min_age_s: float, apply: bool, as_json: bool) -> None:
    """Remove all secrets but the newest. A client that knows the old ones only is refused from then on.

    A dry run, unless --apply is given.
    """
    folder = secrets_dir or _suite_folder()
    ring = read_key_ring(folder)
    if apply and (age_s := key_ring.age_s(folder)) < min_age_s:
        raise UserError(
            f"the secrets were changed {age_s:.0f} s ago, and services may not have reloaded them",
            f"retire them in {min_age_s - age_s:.0f} s, or choose a smaller --min-age-s",
        )
    _change(folder, ring.retired(), is_suite=secrets_dir is None, apply=apply, as_json=as_json)


def _suite_folder() -> Path:
    return Path(read_suite_state(paths.home_dir()).secrets_dir)


def _change(folder: Path, ring: KeyRing, *, is_suite: bool, apply: bool, as_json: bool) -> None:
    if apply:
        write_key_ring(folder, ring)
        if is_suite:
            change_suite_state(
                paths.home_dir(), signing_secrets=dict(ring.signing), operator_token=ring.console_tokens[0]
            )
    _print(_listing(folder, ring, dry_run=not apply), as_json=as_json)


def _listing(folder: Path, ring: KeyRing, *, dry_run: bool) -> KeyListing:
    known = {} if not dry_run else read_key_ring(folder).holders()
    return KeyListing(
        secrets_dir=str(folder),
        changed_s_ago=round(key_ring.age_s(folder), 1),
        dry_run=dry_run,
        keys=[
            ActiveKeys(
                use=use,
                fingerprints=tuple(
                    key_ring.fingerprint(secret) if not dry_run or secret in known[use] else "new" for secret in secrets
                ),
            )
            for use, secrets in ring.holders().items()
        ],
    )


def _print(listing: KeyListing, *, as_json: bool) -> None:
    if as_json:
        echo(msgspec.json.encode(listing))
        return
    title = "would be active; run again with --apply" if listing.dry_run else "active"
    table = Table("use", "fingerprints, the newest first", title=title)
    for each in listing.keys:
        table.add_row(each.use, ", ".join(each.fingerprints))
    PlainConsole().print(table)
