"""The replay of a burst: bounds hold in every mode, and a trigger that sees ready messages only flaps at zero."""

import pytest

from prebook.contracts.plan import Coupling
from prebook.kubernetes.cluster import read_cluster_settings
from prebook.lab.capacity.assumptions import Assumptions
from prebook.lab.capacity.command import COSTS_FILE, read_deployment
from prebook.lab.capacity.costs import read_costs
from prebook.lab.capacity.recording import RECORDING_FILE, read_recording
from prebook.lab.capacity.replay import ReplayOutcome, TriggerSet, replay_burst, replayed_load, trigger_sets
from prebook.lab.capacity.sizing import CapacityModel
from prebook.runtime.paths import kubernetes_dir

SETS = {triggers.name: triggers for triggers in trigger_sets(200.0)}
BURST = [200.0] * 30 + [1200.0] * 60 + [200.0] * 30
SIZES = read_cluster_settings(kubernetes_dir() / "cluster.toml").services
MIN_REPLICAS = 10


@pytest.fixture(scope="module")
def model() -> CapacityModel:
    costs = read_costs(COSTS_FILE, Coupling.REQUEST_REPLY)
    return CapacityModel(Coupling.REQUEST_REPLY, costs, read_deployment(), Assumptions())


def replay(triggers: TriggerSet, load: list[float], model: CapacityModel, *, admission: bool = False) -> ReplayOutcome:
    return replay_burst(triggers, load, model, SIZES, has_admission=admission)


@pytest.mark.parametrize("triggers", SETS.values(), ids=SETS.keys())
def test_no_mode_goes_beyond_partitions_or_maxima(triggers: TriggerSet, model: CapacityModel) -> None:
    outcome = replay(triggers, BURST, model)
    assert outcome.max_above_partitions <= 0
    assert MIN_REPLICAS < outcome.max_replicas <= sum(size.max_replicas for size in SIZES.values())
    assert outcome.refused == 0.0


def test_processor_time_acts_before_a_backlog_is_long(model: CapacityModel) -> None:
    by_cpu, by_length = (replay(SETS[name], BURST, model) for name in ("cpu", "QueueLength, http"))
    assert by_cpu.oldest_s < by_length.oldest_s


def test_ready_messages_alone_look_idle_and_flap_at_zero(model: CapacityModel) -> None:
    steady = [200.0] * 900
    assert replay(SETS["QueueLength, amqp, to zero"], steady, model).flaps > 0
    assert replay(SETS["cpu and QueueLength, http (manifests)"], steady, model).flaps == 0


def test_admission_control_bounds_the_age_whatever_the_triggers(model: CapacityModel) -> None:
    outcome = replay(SETS["PublishedToDeliveredRatio"], BURST, model, admission=True)
    assert outcome.refused > 0
    assert outcome.oldest_s < replay(SETS["PublishedToDeliveredRatio"], BURST, model).oldest_s


def test_the_recorded_burst_is_scaled_to_the_peak() -> None:
    burst = read_recording(RECORDING_FILE).burst
    load = replayed_load(burst, 1000.0)
    assert max(load) == pytest.approx(1000.0, rel=0.3)
    assert load[0] == load[-1] == 200.0
    assert sum(load[120:-1500]) == pytest.approx(1000.0 * burst.duration_s, rel=0.1)
