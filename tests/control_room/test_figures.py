"""Figures from metrics: totals that survive restarts, states of processes, circuits and admission."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from prebook.control_room.exposition import MetricSample, read_samples
from prebook.control_room.figures import METRICS, CounterTotals, figures_of
from prebook.runtime.gauges import ProcessMetrics
from prebook.runtime.telemetry import MessageMetrics

QUOTE = {"flow": "quote_fare", "coupling": "one_way", "kind": "request"}


def sent(value: float, **labels: str) -> MetricSample:
    return MetricSample("prebook_messages_sent_total", value, {**QUOTE, **labels})


def test_only_the_named_samples_are_read() -> None:
    registry = CollectorRegistry()
    Counter("prebook_messages_sent", "S.", ["flow"], registry=registry).labels('quote "fare",\n{x}').inc(3)
    Counter("other", "O.", registry=registry).inc()
    Gauge("prebook_outbox_waiting", "W.", registry=registry).set(7)
    Histogram("prebook_send_seconds", "H.", registry=registry).observe(1)
    found = read_samples(generate_latest(registry).decode(), {"prebook_messages_sent_total", "prebook_outbox_waiting"})
    assert sorted(found, key=lambda sample: sample.name) == [
        MetricSample("prebook_messages_sent_total", 3.0, {"flow": 'quote "fare",\n{x}'}),
        MetricSample("prebook_outbox_waiting", 7.0, {}),
    ]


def test_the_names_are_those_that_processes_expose() -> None:
    """A metric that was renamed would be missing here, and 0 on the page for ever."""
    registry = CollectorRegistry()
    MessageMetrics(registry)
    ProcessMetrics(registry)
    exposed = {sample for family in registry.collect() for sample in _sample_names(family.name, family.type)}
    of_booking = {"prebook_admission_decisions_total", "prebook_load_ratio", "prebook_pending_requests"}
    assert exposed | of_booking >= METRICS
    from prebook.booking import metrics

    names = {metrics._ADMISSION_DECISIONS._name + "_total", metrics._LOAD_RATIO._name, metrics._PENDING_REQUESTS._name}
    assert names == of_booking


def _sample_names(name: str, kind: str) -> set[str]:
    return {f"{name}_total"} if kind == "counter" else {name}


def test_totals_are_summed_over_processes_and_survive_restarts() -> None:
    totals = CounterTotals()
    figures_of({"booking": [sent(10)], "booking-2": [sent(1)]}, totals)
    figures_of({"booking": [sent(12)], "booking-2": [sent(1)]}, totals)
    figures_of({"booking": None, "booking-2": [sent(4)]}, totals)
    found = figures_of({"booking": [sent(5)], "booking-2": [sent(4)]}, totals)
    assert found["messages"] == {"quote_fare/one_way/request": {"sent": 12 + 5 + 4}}


def test_events_are_counted_for_each_receiver_and_expiries_over_their_stages() -> None:
    event = {"flow": "booking_ended", "coupling": "one_way", "kind": "event"}
    handled = "prebook_messages_handled_total"
    expired = "prebook_messages_expired_total"
    found = figures_of(
        {
            "booking": [MetricSample("prebook_messages_sent_total", 5, event)],
            "pricing": [MetricSample(handled, 5, event), MetricSample(handled, 2, QUOTE)],
            "matching": [MetricSample(handled, 3, event)],
            "matching-2": [
                MetricSample(handled, 1, event),
                MetricSample(expired, 2, {**QUOTE, "stage": "inbound"}),
                MetricSample(expired, 3, {**QUOTE, "stage": "outbox"}),
            ],
        },
        CounterTotals(),
    )
    assert found["messages"] == {
        "booking_ended/one_way/event": {"sent": 5},
        "booking_ended/one_way/event/pricing": {"handled": 5},
        "booking_ended/one_way/event/matching": {"handled": 4},
        "quote_fare/one_way/request": {"handled": 2, "expired": 5, "expired_inbound": 2},
    }


def test_states_of_processes_circuits_and_admission() -> None:
    found = figures_of(
        {
            "booking": [
                MetricSample("prebook_outbox_waiting", 3),
                MetricSample("prebook_outbox_oldest_age_seconds", 1.23456),
                MetricSample("prebook_outbox_abandoned", 2, {"state": "expired", "cause": "late"}),
                MetricSample("prebook_provider_circuit_open", 1, {"provider": "pricing"}),
                MetricSample("prebook_consumer_circuit_open", 0, {"queue": "booking.replies"}),
                MetricSample("prebook_consumer_paused_messages", 4, {"queue": "booking.replies"}),
                MetricSample("prebook_load_ratio", 0.51239, {"load": "outbox"}),
                MetricSample("prebook_pending_requests", 6, {"flow": "quote_fare", "coupling": "one_way"}),
                MetricSample("prebook_admission_decisions_total", 8, {"decision": "admitted"}),
                MetricSample("prebook_messages_dead_lettered_total", 1, {"flow": "quote_fare", "cause": "rejected"}),
                MetricSample("prebook_http_client_requests_total", 9, {"provider": "pricing"}),
            ],
            "pricing": None,
        },
        CounterTotals(),
    )
    assert found["processes"] == {
        "booking": {"state": "up", "abandoned": 2, "outbox": 3, "outbox_oldest_s": 1.235},
        "pricing": {"state": "away"},
    }
    assert found["circuits"] == {"booking/booking.replies": {"open": False, "paused": 4}}
    assert found["breakers"] == {"booking/pricing": True}
    assert found["admission"] == {
        "decisions": {"admitted": 8},
        "loads": {"outbox": 0.512},
        "pending": {"quote_fare/one_way": 6},
    }
    assert found["parked"] == {"quote_fare/rejected": 1}
    assert found["calls"] == {"booking/pricing": 9}
