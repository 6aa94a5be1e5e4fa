"""ScaledObjects of KEDA: processor time, and the length of every consumed queue, unacknowledged messages included."""

from collections.abc import Iterator
from typing import Any

from prebook.flows import SERVICES
from prebook.kubernetes.documents import Document
from prebook.kubernetes.names import account_secret
from prebook.kubernetes.scaling import messages_per_replica, queue_pattern, scaled_queues
from prebook.kubernetes.suite_model import SuiteModel
from prebook.messaging.addresses import OBSERVER, VHOST
from prebook.topology.consumed_queues import ConsumedQueue

API_VERSION = "keda.sh/v1alpha1"
POLLING_INTERVAL_S = 15
CPU_OF_A_REPLICA = "600m"
"""Six tenths of the one core that a process can use. A share of the requested time would be less than that."""
FALLBACK_FAILURES = 4
SCALING_BEHAVIOR = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    },
}
"""Double in 30 s; remove a pod in 120 s, after 300 s of calm."""


def scaled_objects(model: SuiteModel) -> list[Document]:
    """Return one ScaledObject for each service that takes part in a flow. None scales to zero."""
    return [_scaled_object(service, model) for service in SERVICES]


def trigger_authentication() -> Document:
    """Return the access of the triggers to the management API."""
    name = account_secret(OBSERVER)
    return {
        "apiVersion": API_VERSION,
        "kind": "TriggerAuthentication",
        "metadata": {"name": name},
        "spec": {
            "secretTargetRef": [
                {"parameter": key, "name": name, "key": key} for key in ("host", "username", "password")
            ]
        },
    }


def autoscaling_component(resources: list[str]) -> Document:
    """Return the Component. It removes the replicas of the services, which would undo the autoscaler's."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": resources,
        "patches": [
            {
                "target": {"kind": "Deployment", "name": service},
                "patch": '[{"op": "remove", "path": "/spec/replicas"}]',
            }
            for service in SERVICES
        ],
    }


def _scaled_object(service: str, model: SuiteModel) -> Document:
    size = model.cluster.services[service]
    return {
        "apiVersion": API_VERSION,
        "kind": "ScaledObject",
        "metadata": {"name": service},
        "spec": {
            "scaleTargetRef": {"name": service},
            "minReplicaCount": size.min_replicas,
            "maxReplicaCount": size.max_replicas,
            "pollingInterval": POLLING_INTERVAL_S,
            "fallback": {
                "failureThreshold": FALLBACK_FAILURES,
                "replicas": size.min_replicas,
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": SCALING_BEHAVIOR}},
            "triggers": [*_triggers(service, model)],
        },
    }


def _triggers(service: str, model: SuiteModel) -> Iterator[Document]:
    yield {"type": "cpu", "metricType": "AverageValue", "metadata": {"value": CPU_OF_A_REPLICA}}
    for queue in scaled_queues(service, model.policies):
        yield {
            "type": "rabbitmq",
            "metricType": "AverageValue",
            "metadata": _trigger_metadata(queue, messages_per_replica(model.policies)),
            "authenticationRef": {"name": account_secret(OBSERVER)},
        }


def _trigger_metadata(queue: ConsumedQueue, value: int) -> dict[str, Any]:
    """Return the metadata of a trigger; ready messages alone, as over AMQP, would hide those in consumers' hands."""
    summed = {"useRegex": "true", "operation": "sum"} if queue.partitions else {}
    return {
        "protocol": "http",
        "vhostName": VHOST,
        "mode": "QueueLength",
        "value": str(value),
        "queueName": queue_pattern(queue),
        **summed,
    }
