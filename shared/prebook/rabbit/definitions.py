"""Broker definitions of a topology, in RabbitMQ's own format: `rabbitmqctl import_definitions` declares them.

They contain no users, and so no password: users have to exist before. Source: RabbitMQ, "Schema Definition Export and
Import".
"""

from typing import Any

from prebook.messaging import addresses
from prebook.rabbit.management_codec import exchange_body, policy_body, queue_body
from prebook.topology import access
from prebook.topology.values import Binding, Topology


def broker_definitions(topology: Topology, vhost: str = addresses.VHOST) -> dict[str, Any]:
    """Return the definitions of a virtual host, in a fixed order."""
    return {
        "vhosts": [{"name": vhost}],
        "permissions": [
            {"user": p.user, "vhost": vhost, "configure": p.configure, "write": p.write, "read": p.read}
            for p in sorted(access.permissions(topology))
        ],
        "topic_permissions": [
            {"user": p.user, "vhost": vhost, "exchange": p.exchange, "write": p.write, "read": p.read}
            for p in sorted(access.topic_permissions(topology))
        ],
        "policies": [{"vhost": vhost, "name": p.name, **policy_body(p)} for p in sorted(topology.policies)],
        # A declaration may leave out auto_delete. An import ends at a queue without it, and makes of an exchange
        # without it one that no later declaration matches.
        "exchanges": [
            {"vhost": vhost, "name": x.name, "auto_delete": False, **exchange_body(x)}
            for x in sorted(topology.exchanges)
        ],
        "queues": [
            {"vhost": vhost, "name": q.name, "auto_delete": False, **queue_body(q)} for q in sorted(topology.queues)
        ],
        "bindings": [{"vhost": vhost, **_binding(b)} for b in sorted(topology.bindings)],
    }


def _binding(binding: Binding) -> dict[str, Any]:
    return {
        "source": binding.exchange,
        "destination": binding.destination,
        "destination_type": "exchange" if binding.to_exchange else "queue",
        "routing_key": binding.routing_key,
        "arguments": dict(binding.arguments),
    }
