"""Message history: the hops of a message, as one text that travels with it.

A hop is one publication: ``pricing>delay.200`` means that pricing published to ``prebook.delay.200``. Hops are
separated by semicolons, the oldest first; ``12+`` before them means 12 older hops that are no longer listed. Laws:

- the count of hops grows by one with each hop, up to ``MAX_COUNTED_HOPS``;
- the text has at most ``MAX_HISTORY_CHARS`` characters, however often the message is published;
- a text that is not a valid history counts as none, and the next hop begins a new one.

A history is for diagnosis, not proof: whoever may publish a message can forge it.

Source: EIP, Message History.
"""

import re
from functools import lru_cache

MAX_HOPS = 16
"""Hops that are listed. A request has one; each attempt, dead letter and replay adds one."""
MAX_COMPONENT_CHARS = 32
MAX_CHANNEL_CHARS = 64
MAX_OMITTED_DIGITS = 6
MAX_OMITTED = 10**MAX_OMITTED_DIGITS - 1
MAX_COUNTED_HOPS = MAX_OMITTED + MAX_HOPS
MAX_HISTORY_CHARS = MAX_OMITTED_DIGITS + 1 + MAX_HOPS * (MAX_COMPONENT_CHARS + 1 + MAX_CHANNEL_CHARS) + MAX_HOPS - 1
_NAME = "[A-Za-z0-9_.-]"
_HOP = f"{_NAME}{{1,{MAX_COMPONENT_CHARS}}}>{_NAME}{{1,{MAX_CHANNEL_CHARS}}}"
_HISTORY = re.compile(
    rf"(?:(?P<omitted>[1-9][0-9]{{0,{MAX_OMITTED_DIGITS - 1}}})\+)?(?P<hops>{_HOP}(?:;{_HOP}){{0,{MAX_HOPS - 1}}})\Z"
)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")


@lru_cache(maxsize=1024)
def hop(component: str, channel: str) -> str:
    """Return the hop of a message that ``component`` publishes to ``channel``; long names are cut."""
    names = (component[:MAX_COMPONENT_CHARS], channel[:MAX_CHANNEL_CHARS])
    return ">".join(_NOT_IN_NAMES.sub("_", name) or "_" for name in names)


def with_hop(history: str, new_hop: str) -> str:
    """Return the history with one more hop. ``history`` may be any text; ``new_hop`` comes from ``hop``."""
    parsed = _parse(history)
    if parsed is None:
        return new_hop
    if history.count(";") < MAX_HOPS - 1:
        return f"{history};{new_hop}"
    omitted = min(int(parsed["omitted"] or 0) + 1, MAX_OMITTED)
    return f"{omitted}+{parsed['hops'].partition(';')[2]};{new_hop}"


def count_hops(history: str) -> int:
    """Return the number of hops of a history, including those that are no longer listed; 0 for any other text."""
    parsed = _parse(history)
    return int(parsed["omitted"] or 0) + parsed["hops"].count(";") + 1 if parsed else 0


def listed_hops(history: str) -> tuple[str, ...]:
    """Return the listed hops, the oldest first; none for a text that is not a history."""
    parsed = _parse(history)
    return tuple(parsed["hops"].split(";")) if parsed else ()


def _parse(text: str) -> re.Match[str] | None:
    return _HISTORY.match(text) if 0 < len(text) <= MAX_HISTORY_CHARS else None
