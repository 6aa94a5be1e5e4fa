"""Each partner in its own words. What it says is drawn from the ride by a seed; how long it takes as well."""

import asyncio
import json
from collections.abc import Callable, Mapping

from prebook.fleets.domain.fleet import Chance, Fleet

Speech = Callable[[int | None], bytes]
"""Minutes to arrival, or None for a refusal, as the partner says it."""


def ada_says(minutes: int | None) -> bytes:
    said = {"status": "NO_CAPACITY"} if minutes is None else {"status": "OK", "eta_s": minutes * 60}
    return json.dumps(said).encode()


def borealis_says(minutes: int | None) -> bytes:
    return b"NAK;busy" if minutes is None else f"ACK;{minutes}".encode()


def cargo_says(minutes: int | None) -> bytes:
    return json.dumps(["no", "all out"] if minutes is None else ["yes", minutes]).encode()


SPEECH: Mapping[str, Speech] = {"ada": ada_says, "borealis": borealis_says, "cargo": cargo_says}


async def exchange(fleet: Fleet, chance: Chance, question: bytes) -> bytes:
    """Ask the partner. Repeating a question is harmless: it only looks."""
    if not question:
        return b""
    await asyncio.sleep(fleet.fastest_s + chance.slowness * (fleet.slowest_s - fleet.fastest_s))
    minutes = fleet.nearest_min + int(chance.nearness * (fleet.farthest_min - fleet.nearest_min + 1))
    return SPEECH[fleet.name](minutes if chance.accepts < fleet.acceptance else None)
