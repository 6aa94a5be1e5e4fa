"""Topology of the feed: the rights of its account, its drawing, and what a suite without it has."""

from pathlib import Path

from prebook.cli.pipe.city_feed import ACCOUNT, CITY_FEED_TOPOLOGY, city_feed
from prebook.flows import BOOKING_CONFIRMED
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.topology.access import permissions
from prebook.topology.diagrams import mermaid_diagram
from prebook.topology.model import suite_topology
from prebook.topology.pipe import pipe_topology
from prebook.topology.values import Binding

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
QUEUE = QueueName(city_feed().source)


def test_the_account_may_read_its_queue_and_park_from_it_and_nothing_else() -> None:
    own = [each for each in permissions(suite_topology(()) | CITY_FEED_TOPOLOGY) if ACCOUNT in each.user]
    assert [(each.read, each.write, each.configure) for each in own] == [
        (r"^(city_feed\.rides)$", r"^(prebook\.parking)$", "^$")
    ]
    keys = {grant.routing_key for grant in CITY_FEED_TOPOLOGY.grants if grant.account == ACCOUNT}
    assert keys == {QUEUE}


def test_only_booking_and_those_that_send_again_may_send_a_ride() -> None:
    senders = {(grant.account, grant.exchange) for grant in CITY_FEED_TOPOLOGY.message_grants}
    assert senders == {
        (BOOKING_CONFIRMED.publisher, addresses.EVENTS),
        ("operations", addresses.EVENTS),
        *((account, addresses.REDELIVER) for account in ("operations", ACCOUNT, addresses.ARCHIVE_READER)),
    }
    assert {(grant.flow, grant.queue) for grant in CITY_FEED_TOPOLOGY.message_grants} == {
        (BOOKING_CONFIRMED.name, QUEUE)
    }


def test_a_suite_without_the_feed_has_no_part_of_it() -> None:
    suite = suite_topology(())
    assert QUEUE not in {queue.name for queue in suite.queues}
    assert set(CITY_FEED_TOPOLOGY.bindings - suite.bindings) == {
        Binding(addresses.EVENTS, addresses.event_routing_key(BOOKING_CONFIRMED.name), QUEUE),
        Binding(addresses.REDELIVER, QUEUE, QUEUE),
    }


def test_the_pipe_pulls_from_its_queue_and_pushes_from_stage_to_stage() -> None:
    pulled = {(arrow.source, arrow.target): arrow.pulled for arrow in CITY_FEED_TOPOLOGY.arrows}
    assert [hop for hop, is_pulled in pulled.items() if is_pulled] == [(QUEUE, "filter")]
    assert pulled.keys() >= set(city_feed().hops())


def test_the_knobs_change_labels_of_the_drawing_only() -> None:
    slow = pipe_topology(city_feed(rate_per_s=1.0, batch_size=1, parallelism=1), BOOKING_CONFIRMED, ACCOUNT)
    assert slow.arrows != CITY_FEED_TOPOLOGY.arrows
    assert [(arrow.source, arrow.target) for arrow in sorted(slow.arrows)] == [
        (arrow.source, arrow.target) for arrow in sorted(CITY_FEED_TOPOLOGY.arrows)
    ]
    assert slow.grants == CITY_FEED_TOPOLOGY.grants


def test_the_guide_shows_the_drawing_of_the_model() -> None:
    assert f"```mermaid\n{mermaid_diagram(CITY_FEED_TOPOLOGY)}```" in GUIDE.read_text()
