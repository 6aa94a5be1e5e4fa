"""Findings of `prebook doctor` about the broker and its delay queues, from their versions and figures."""

import pytest

from prebook.cli.doctor import OLD_BROKER_HINT, delay_queue_finding, describe_broker

METRICS = """\
# HELP prebook_delay_queue_overdue_seconds Seconds by which a test message is late.
# TYPE prebook_delay_queue_overdue_seconds gauge
prebook_delay_queue_overdue_seconds{{queue="prebook.delay.200"}} {late}
prebook_delay_queue_overdue_seconds{{queue="prebook.delay.1000"}} 0.0
prebook_dead_letters{{cause="expired",service="pricing"}} 7.0
"""


@pytest.mark.parametrize("name", ["RabbitMQ 3.10.8", "RabbitMQ 3.13.7"])
def test_a_broker_that_can_end_its_dead_lettering_is_named(name: str) -> None:
    assert describe_broker(name) == f"{name}{OLD_BROKER_HINT}"


@pytest.mark.parametrize("name", ["RabbitMQ 4.0.5", "RabbitMQ 10.0.0", "a broker without a version"])
def test_a_newer_or_unknown_broker_is_not(name: str) -> None:
    assert describe_broker(name) == name


@pytest.mark.parametrize(("late", "shown"), [("45.0", 45), ("1.5e+06", 1_500_000)])
def test_a_delay_queue_that_returns_nothing_is_a_finding(late: str, shown: int) -> None:
    finding = delay_queue_finding(METRICS.format(late=late))
    assert not finding.ok
    assert finding.detail == f"the broker returns nothing from prebook.delay.200 for {shown} s"
    assert "guide" in finding.remedy


@pytest.mark.parametrize("metrics", [METRICS.format(late="0.0"), ""])
def test_delay_queues_that_return_their_messages_are_well(metrics: str) -> None:
    assert delay_queue_finding(metrics).ok
