"""Resources of RabbitMQ's Messaging Topology Operator, one for each element of the topology model."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from prebook.kubernetes.documents import Document
from prebook.kubernetes.names import BROKER, account_secret, resource_name
from prebook.messaging.addresses import VHOST, broker_user
from prebook.topology import access
from prebook.topology.values import Arguments, Binding, Exchange, Policy, Queue, Topology

API_VERSION = "rabbitmq.com/v1beta1"
QUEUE_TYPE = "x-queue-type"
BROKER_REFERENCE = {"rabbitmqClusterReference": {"name": BROKER}}


def vhost_resource() -> Document:
    """Return the virtual host. It outlives its resource, with everything in it."""
    return _resource("Vhost", VHOST, {"name": VHOST, "defaultQueueType": "quorum", "deletionPolicy": "retain"})


def exchange_resources(topology: Topology) -> list[Document]:
    """Return the exchanges. The defaults of the resource are `direct` and not durable, so both are always written."""
    return [_exchange(exchange) for exchange in sorted(topology.exchanges)]


def queue_resources(topology: Topology) -> list[Document]:
    """Return the queues. By default, a deleted resource would delete its queue with all messages."""
    return [_queue(queue) for queue in sorted(topology.queues)]


def binding_resources(topology: Topology) -> list[Document]:
    """Return the bindings. Values of headers keep their type: a number would match no message."""
    return [_binding(binding) for binding in sorted(topology.bindings)]


def policy_resources(topology: Topology) -> list[Document]:
    """Return the policies of queues. The default of the resource applies to exchanges as well."""
    return [_policy(policy) for policy in sorted(topology.policies)]


def user_resources(topology: Topology) -> list[Document]:
    """Return the users. Without imported credentials, the operator would invent their names."""
    tags = access.user_tags(topology)
    return [_user(account, tags[broker_user(account)]) for account in access.broker_accounts(topology)]


def permission_resources(topology: Topology) -> list[Document]:
    """Return the permissions, then those of topic exchanges. A reference to a user would delete it with them."""
    return [
        *(
            _resource(
                "Permission",
                resource_name(permission.user),
                _in_vhost(
                    user=permission.user,
                    permissions={
                        "configure": permission.configure,
                        "write": permission.write,
                        "read": permission.read,
                    },
                ),
            )
            for permission in sorted(access.permissions(topology))
        ),
        *(
            _resource(
                "TopicPermission",
                resource_name(f"{topic.user}-{topic.exchange}"),
                _in_vhost(
                    user=topic.user,
                    permissions={"exchange": topic.exchange, "write": topic.write, "read": topic.read},
                ),
            )
            for topic in sorted(access.topic_permissions(topology))
        ),
    ]


def _resource(kind: str, name: str, spec: Mapping[str, Any]) -> Document:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**spec, **BROKER_REFERENCE},
    }


def _in_vhost(**spec: Any) -> Mapping[str, Any]:
    return {"vhost": VHOST, **spec}


def _arguments(pairs: Arguments) -> Mapping[str, Any]:
    return {"arguments": dict(pairs)} if pairs else {}


def _exchange(exchange: Exchange) -> Document:
    spec = {"type": exchange.type, "durable": exchange.durable, **_arguments(exchange.arguments)}
    return _resource("Exchange", resource_name(exchange.name), {"name": exchange.name, **_in_vhost(**spec)})


def _queue(queue: Queue) -> Document:
    arguments = dict(queue.arguments)
    spec = {"type": arguments.pop(QUEUE_TYPE), "durable": queue.durable, "deletionPolicy": "retain"}
    further = {"arguments": arguments} if arguments else {}
    return _resource("Queue", resource_name(queue.name), {"name": queue.name, **_in_vhost(**spec), **further})


def _binding(binding: Binding) -> Document:
    spec = _in_vhost(
        source=binding.exchange,
        destination=binding.destination,
        destinationType="exchange" if binding.to_exchange else "queue",
        routingKey=binding.routing_key,
        **_arguments(binding.arguments),
    )
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{resource_name(binding.exchange)}-{resource_name(binding.destination)}-{digest}"
    return _resource("Binding", name, spec)


def _policy(policy: Policy) -> Document:
    spec = {
        "name": policy.name,
        **_in_vhost(
            pattern=policy.pattern,
            applyTo=policy.apply_to,
            priority=policy.priority,
            definition=dict(policy.definition),
        ),
    }
    return _resource("Policy", resource_name(policy.name), spec)


def _user(account: str, tags: str) -> Document:
    spec = {"tags": tags.split(",")} if tags else {}
    return _resource(
        "User", resource_name(account), {**spec, "importCredentialsSecret": {"name": account_secret(account)}}
    )
