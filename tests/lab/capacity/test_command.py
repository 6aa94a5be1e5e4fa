"""`prebook capacity` as a command: tables, JSON, usage errors, and a stored measurement."""

import json

import pytest
from click.testing import CliRunner

from prebook.cli.main import main
from prebook.lab.capacity.assumptions import REASONS
from prebook.lab.capacity.measurement import queue_samples
from prebook.lab.capacity.recording import QueueSample

RUN = ("capacity", "--rides", "1000")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_names_every_assumption_and_the_first_wall() -> None:
    output = run(*RUN)
    assert all(name in output for name in REASONS)
    assert "Walls of one cell, the first one first" in output
    assert "queue leaders of each node" in output


def test_json_has_the_figures_of_the_table() -> None:
    document = json.loads(run(*RUN, "--burst", "2", "--json"))
    assert document["capacity"]["cells"] == 1
    services = {size["service"]: size for size in document["capacity"]["cell"]["services"]}
    assert services["notification"]["replicas"] <= services["notification"]["partitions"]
    rates = [wall["rides_per_s"] for wall in document["walls"]]
    assert rates == sorted(rates)
    assert document["burst"]["settled, rides/s"] > 1000
    assert {each["name"] for each in document["assumptions"]} == set(REASONS)


def test_an_assumption_changes_the_result() -> None:
    def nodes(*arguments: str) -> int:
        document = json.loads(run("capacity", "--rides", "3000", *arguments, "--json"))
        return int(document["capacity"]["cells"] * document["capacity"]["cell"]["service_nodes"])

    assert nodes("--assume", "node_cores=4") > nodes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a rate with --rides"),
        (("--rides", "0"), "0"),
        ((*RUN[1:], "--assume", "nodes=3"), "give one of target_cores"),
        ((*RUN[1:], "--assume", "node_cores=1.5"), "whole number"),
        ((*RUN[1:], "--assume", "node_cores=nan"), "not finite"),
        ((*RUN[1:], "--assume", "broker_nodes=1"), "at least 2"),
    ],
)
def test_a_wrong_use_is_refused_with_a_remedy(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(main, ["capacity", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("\u2502", " ").split())


def test_partitions_are_summed_and_idle_and_internal_queues_left_out() -> None:
    def queue(name: str, ready: int, rate: float = 0.0) -> dict[str, object]:
        stats = {"publish_details": {"rate": rate}, "deliver_get_details": {"rate": rate}}
        return {"name": name, "messages_ready": ready, "messages_unacknowledged": 1, "message_stats": stats}

    idle = {"name": "fleets.events", "messages_ready": 0}
    queues = [queue("n.requests.0", 1, 2.0), queue("n.requests.1", 2, 3.0), queue("prebook.parking", 5), idle]
    assert queue_samples(queues) == {"n.requests": QueueSample(3, 2, 5.0, 5.0)}
