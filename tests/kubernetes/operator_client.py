"""The requests by which RabbitMQ's Messaging Topology Operator reconciles a resource, over the management API.

An operator knows no order between resources: what the broker refuses, because something is missing, is tried again.
Source: RabbitMQ Messaging Topology Operator, its client library rabbit-hole; RabbitMQ management HTTP API.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prebook.rabbit.errors import BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.rabbit.management_codec import escape
from tests.kubernetes.mutations import Json

MAX_ROUNDS = 10
Request = tuple[str, str, Mapping[str, Any]]


def operator_request(document: Json, credentials: Mapping[str, tuple[str, str]]) -> Request:
    """Return method, path and body for a resource. ``credentials``: name and password by the name of a Secret."""
    spec = document["spec"]
    v = escape(spec.get("vhost", "/"))
    arguments = spec.get("arguments", {})
    match document["kind"]:
        case "Vhost":
            request = "PUT", f"vhosts/{escape(spec['name'])}", {"default_queue_type": spec["defaultQueueType"]}
        case "Exchange":
            body = {"type": spec["type"], "durable": spec["durable"], "auto_delete": False, "arguments": arguments}
            request = "PUT", f"exchanges/{v}/{escape(spec['name'])}", body
        case "Queue":
            arguments = {**arguments, "x-queue-type": spec["type"]}
            body = {"durable": spec["durable"], "auto_delete": False, "arguments": arguments}
            request = "PUT", f"queues/{v}/{escape(spec['name'])}", body
        case "Binding":
            kind = {"queue": "q", "exchange": "e"}[spec["destinationType"]]
            path = f"bindings/{v}/e/{escape(spec['source'])}/{kind}/{escape(spec['destination'])}"
            request = "POST", path, {"routing_key": spec["routingKey"], "arguments": arguments}
        case "Policy":
            body = {key: spec[key] for key in ("pattern", "definition", "priority")}
            request = "PUT", f"policies/{v}/{escape(spec['name'])}", {**body, "apply-to": spec["applyTo"]}
        case "User":
            name, password = credentials[spec["importCredentialsSecret"]["name"]]
            request = "PUT", f"users/{escape(name)}", {"password": password, "tags": ",".join(spec.get("tags", []))}
        case "Permission" | "TopicPermission" as kind:
            folder = {"Permission": "permissions", "TopicPermission": "topic-permissions"}[kind]
            request = "PUT", f"{folder}/{v}/{escape(spec['user'])}", spec["permissions"]
        case other:
            raise AssertionError(f"the operator does not reconcile a {other}")
    return request


def drawn_credentials(documents: Iterable[Json]) -> dict[str, tuple[str, str]]:
    """Return name and password of each Secret that External Secrets would draw."""
    targets = [d["spec"]["target"] for d in documents if d["kind"] == "ExternalSecret"]
    return {t["name"]: (t["template"]["data"]["username"], f"drawn for {t['name']}") for t in targets}


async def reconcile(broker: ManagementClient, documents: Sequence[Json], seed: int) -> int:
    """Declare all resources in a random order, until the broker has accepted each; return the number of rounds."""
    credentials = drawn_credentials(documents)
    pending = [
        operator_request(d, credentials)
        for d in documents
        if str(d["apiVersion"]).startswith("rabbitmq.com/v1beta1") and d["kind"] != "RabbitmqCluster"
    ]
    random.Random(seed).shuffle(pending)
    for number in range(1, MAX_ROUNDS + 1):
        refused: list[Request] = []
        for method, path, body in pending:
            if not await is_accepted(broker, (method, path, body)):
                refused.append((method, path, body))
        if not refused:
            return number
        pending = refused
    raise AssertionError(f"the broker refuses {pending[:3]}")


async def is_accepted(broker: ManagementClient, request: Request) -> bool:
    """Send a request. After a refusal the broker may close the connection, and the next request finds it closed."""
    method, path, body = request
    try:
        return (await broker._request(method, path, json=body)).is_success
    except BrokerUnreachable:
        return False
