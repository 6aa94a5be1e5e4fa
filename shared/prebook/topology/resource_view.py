"""Resource view of a topology: what a virtual host contains, as infrastructure as code lists it.

It shows which resources exist and who owns them, the same for every plan. Who sends what to whom, and who decides when,
is in ``diagrams``. Source: the talk (API309), infrastructure as code beside architecture as code.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from prebook.messaging import addresses
from prebook.topology import svg
from prebook.topology.access import broker_accounts
from prebook.topology.values import Queue, Topology

SHARED_QUEUES = "the broker"
"""Owner of queues that no service consumes: the delay queues, the archive, and those of subscribers."""


@dataclass(frozen=True)
class Resource:
    """One exchange, queue or user. ``detail``: its type, and the resources that it holds, for people."""

    name: str
    detail: str


@dataclass(frozen=True)
class ResourceGroup:
    """Resources of one kind, and of one owner if they are queues."""

    title: str
    resources: tuple[Resource, ...]


def resource_groups(topology: Topology) -> tuple[ResourceGroup, ...]:
    """Return all exchanges, queues and users of a topology: exchanges first, users last."""
    return (
        ResourceGroup("exchanges", tuple(_exchanges(topology))),
        *_queue_groups(topology),
        ResourceGroup("users", tuple(_users(topology))),
    )


def _exchanges(topology: Topology) -> Iterator[Resource]:
    bindings = Counter(binding.exchange for binding in topology.bindings)
    for exchange in sorted(topology.exchanges):
        yield Resource(exchange.name, f"{exchange.type}, {_counted(bindings[exchange.name], 'binding')}")


def _queue_groups(topology: Topology) -> Iterator[ResourceGroup]:
    policies = {policy.name for policy in topology.policies}
    queues = sorted(topology.queues, key=lambda queue: (_owner(queue), queue.name))
    for owner, owned in groupby(queues, key=_owner):
        yield ResourceGroup(f"queues of {owner}", tuple(_queue(queue, policies) for queue in owned))


def _owner(queue: Queue) -> str:
    return queue.consumer or SHARED_QUEUES


def _queue(queue: Queue, policies: Iterable[str]) -> Resource:
    queue_type = dict(queue.arguments).get("x-queue-type", "classic")
    return Resource(queue.name, f"{queue_type}, policy" if queue.name in policies else str(queue_type))


def _users(topology: Topology) -> Iterator[Resource]:
    for account in broker_accounts(topology):
        writes = {grant.exchange for grant in topology.grants if grant.account == account}
        reads = {queue.name for queue in topology.queues if queue.consumer == account}
        reads |= {grant.queue for grant in topology.read_grants if grant.account == account}
        detail = f"writes {_counted(len(writes), 'exchange')}, reads {_counted(len(reads), 'queue')}"
        yield Resource(addresses.broker_user(account), detail)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


COLUMNS = 3
MARGIN = 24
COLUMN_WIDTH = 440
GAP = 16
LINE_HEIGHT = 20
TITLE_HEIGHT = 32
HEADING_HEIGHT = 64


def resource_svg(topology: Topology, *, title: str, subtitle: str) -> str:
    """Return an SVG document with a box for the virtual host and, within it, one for each group of resources."""
    columns = _columns(resource_groups(topology))
    height = max(sum(_group_height(group) + GAP for group in column) for column in columns)
    width = COLUMNS * (COLUMN_WIDTH + GAP) + GAP
    top = MARGIN + HEADING_HEIGHT
    heading = [svg.text(MARGIN, MARGIN + 22, title, "h1"), svg.text(MARGIN, MARGIN + 46, subtitle, "sub")]
    host = [
        svg.box(MARGIN, top, width, TITLE_HEIGHT + height, "lane", radius=12),
        svg.text(MARGIN + GAP, top + 21, f"virtual host {addresses.VHOST}", "h2"),
    ]
    drawn = [part for n, column in enumerate(columns) for part in _draw_column(column, n, top + TITLE_HEIGHT)]
    total_height = top + TITLE_HEIGHT + height + MARGIN
    return svg.document(
        width + 2 * MARGIN, total_height, title, f"{subtitle} {_description(topology)}", [*heading, *host, *drawn]
    )


def resource_mermaid(topology: Topology) -> str:
    """Return a Mermaid flowchart whose lines mean containment: virtual host, groups, resources."""
    lines = ["flowchart LR", f'    host["virtual host {addresses.VHOST}"]']
    for number, group in enumerate(resource_groups(topology)):
        lines.append(f'    host --- group{number}["{group.title}"]')
        for position, resource in enumerate(group.resources):
            node = f'resource{number}_{position}["{resource.name}: {resource.detail}"]'
            lines.append(f"    group{number} --- {node}")
    return "\n".join(lines) + "\n"


def _columns(groups: Iterable[ResourceGroup]) -> list[list[ResourceGroup]]:
    """Put each group into the column that is the shortest so far."""
    columns: list[list[ResourceGroup]] = [[] for _ in range(COLUMNS)]
    for group in groups:
        min(columns, key=lambda column: sum(_group_height(each) + GAP for each in column)).append(group)
    return columns


def _group_height(group: ResourceGroup) -> int:
    return TITLE_HEIGHT + len(group.resources) * LINE_HEIGHT + GAP // 2


def _draw_column(groups: Sequence[ResourceGroup], number: int, top: float) -> Iterator[str]:
    left = MARGIN + GAP + number * (COLUMN_WIDTH + GAP)
    for group in groups:
        yield svg.group("resources", group.title, _draw_group(group, left, top))
        top += _group_height(group) + GAP


def _draw_group(group: ResourceGroup, left: float, top: float) -> Iterator[str]:
    yield svg.box(left, top, COLUMN_WIDTH, _group_height(group), "paper", radius=8)
    yield svg.text(left + 12, top + 21, group.title, "h2")
    for number, resource in enumerate(group.resources):
        level = top + TITLE_HEIGHT + (number + 0.7) * LINE_HEIGHT
        yield svg.text(left + 12, level, resource.name, "stop")
        yield svg.text(left + COLUMN_WIDTH - 12, level, resource.detail, "label", anchor="end")


def _description(topology: Topology) -> str:
    """Describe the drawing in words, for screen readers."""
    return " ".join(f"{g.title}: {', '.join(r.name for r in g.resources)}." for g in resource_groups(topology))
