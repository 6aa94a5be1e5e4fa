"""The broker of the testbed as a process of this machine, which an experiment kills, observes or configures."""

from prebook.devstack.servers import ServerChild
from prebook.lab.experiments.experiment import Prerequisite
from prebook.lab.experiments.testbed import ExperimentTestbed

BROKER = "broker"


def broker_process(testbed: ExperimentTestbed) -> ServerChild:
    """Return the running process of the broker; BROKER_PROCESS says whether there is one."""
    child = testbed.stack.processes[BROKER].child
    assert child is not None  # noqa: S101 - the testbed has started it
    return child


def _broker_missing(testbed: ExperimentTestbed) -> str:
    return "" if BROKER in testbed.stack.processes else "the broker runs in a container; set PREBOOK_STACK=local"


BROKER_PROCESS = Prerequisite("a broker process of this machine", _broker_missing)
