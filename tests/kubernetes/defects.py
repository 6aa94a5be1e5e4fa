"""Forty defects that each render, and that a review may overlook. Each names the step that has to find it."""

from prebook.flows import PROCESSES
from prebook.kubernetes.checks.findings import CheckStep
from prebook.messaging.headers import HASH_SLOT_HEADER
from tests.kubernetes.manifests import find_document
from tests.kubernetes.mutations import DELETE, Json, Mutation, Rename

SCHEMA = CheckStep.SCHEMA
REFERENCE = CheckStep.REFERENCE
MODEL = CheckStep.MODEL
POLICY = CheckStep.POLICY
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
S3 = ("spec", "configuration", "s3Credentials")
FIRST_PEER = ("spec", "ingress", 0, "from", 0)
FIRST_RULES = ("spec", "groups", 0, "rules")
SECRET_KEY = ("valueFrom", "secretKeyRef")
SECRET_SOURCE = ("projected", "sources", 0, "secret", "name")
SYNCHRONOUS = ("spec", "postgresql", "synchronous")
ENFORCE = "pod-security.kubernetes.io/enforce"
BOOKING_REQUESTS = "prebook-booking-prebook.requests"
PARTITION = "booking.events.2"


def trigger_index(documents: list[Json], service: str) -> int:
    """Return the index of the first trigger by a queue."""
    triggers = find_document(documents, "ScaledObject", service)["spec"]["triggers"]
    return next(n for n, trigger in enumerate(triggers) if trigger["type"] == "rabbitmq")


def variable_index(documents: list[Json], job: str, name: str) -> int:
    """Return the index of a variable of a Job."""
    container = find_document(documents, "Job", job)["spec"]["template"]["spec"]["containers"][0]
    return next(n for n, variable in enumerate(container["env"]) if variable["name"] == name)


def binding_name(documents: list[Json], source: str, **fields: object) -> str:
    """Return the name of the resource of a binding, given some of its fields or arguments."""
    bindings = [d for d in documents if d["kind"] == "Binding" and d["spec"]["source"] == source]
    return next(
        str(binding["metadata"]["name"])
        for binding in bindings
        if fields.items()
        <= {**binding["spec"].get("arguments", {}), "routingKey": binding["spec"]["routingKey"]}.items()
    )


def seeded_defects(documents: list[Json]) -> list[Mutation]:
    """Return the forty defects, in the order of their list: 7 of schemas, 12 references, 12 of the model, 9 rules."""
    job = next(d["metadata"]["name"] for d in documents if d["kind"] == "Job")
    slot = binding_name(documents, "notification.requests.notify_rider", **{HASH_SLOT_HEADER: "4"})
    event = binding_name(documents, "prebook.events", routingKey="request.quote_fare")
    trigger = ("spec", "triggers", trigger_index(documents, "booking"))
    pricing_trigger = ("spec", "triggers", trigger_index(documents, "pricing"))
    owner = variable_index(documents, job, "DATABASE_PASSWORD")
    passwords = variable_index(documents, job, "PREBOOK_ROLE_PASSWORDS")
    role_passwords = find_document(documents, "Job", job)["spec"]["template"]["spec"]["containers"][0]["env"][passwords]
    egress = find_document(documents, "NetworkPolicy", "matching")["spec"]["egress"]
    to_fleets = next(
        (n, m)
        for n, rule in enumerate(egress)
        for m, peer in enumerate(rule["to"])
        if peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name") == "fleets"
    )
    ingress = find_document(documents, "NetworkPolicy", "pricing")["spec"]["ingress"]
    from_booking = next(
        (n, m)
        for n, rule in enumerate(ingress)
        for m, peer in enumerate(rule["from"])
        if peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name") == "booking"
    )
    label = "app.kubernetes.io/name"
    return [
        Mutation("Queue", "pricing.requests.quote-fare", ("spec", "deletionPolicy"), Rename("deletePolicy"), SCHEMA),
        Mutation(
            "Deployment", "booking", (*POD, "topologySpreadConstraints"), Rename("topologySpreadConstraint"), SCHEMA
        ),
        Mutation("RabbitmqCluster", "prebook-broker", ("spec", "persistence", "storage"), Rename("size"), SCHEMA),
        Mutation("Cluster", "prebook-db", ("spec", "instances"), "3", SCHEMA),
        Mutation("ScaledObject", "notification", ("spec", "maxReplicaCount"), Rename("maxReplicas"), SCHEMA),
        Mutation("Policy", "pricing.requests.quote-fare", ("spec", "applyTo"), "queue", SCHEMA),
        Mutation("HTTPRoute", "booking", ("spec", "rules", 0, "matches", 0, "path", "type"), "Prefix", SCHEMA),
        Mutation(
            "Deployment",
            "booking",
            (*POD, "volumes", 0, "projected", "sources", 0, "secret", "name"),
            "prebook-bookings",
            REFERENCE,
        ),
        Mutation("Job", job, (*CONTAINER, "env", owner, "valueFrom", "secretKeyRef", "key"), "pass", REFERENCE),
        Mutation("Service", "pricing", ("spec", "selector", label), "price", REFERENCE),
        Mutation("Deployment", "matching", (*CONTAINER, "readinessProbe", "httpGet", "port"), 8080, REFERENCE),
        Mutation(
            "Deployment", "fleets", (*CONTAINER, "envFrom", 0, "configMapRef", "name"), "prebook-setting", REFERENCE
        ),
        Mutation("ScaledObject", "pricing", ("spec", "scaleTargetRef", "name"), "prices", REFERENCE),
        Mutation("ScaledObject", "booking", (*trigger, "authenticationRef", "name"), "prebook-observers", REFERENCE),
        Mutation(
            "Job",
            job,
            (*CONTAINER, "env", passwords, "value"),
            role_passwords["value"].replace("PRICING)", "PRICE)"),
            REFERENCE,
        ),
        Mutation(
            "Queue",
            "pricing.requests.quote-fare",
            ("spec", "rabbitmqClusterReference", "name"),
            "prebook-rabbit",
            REFERENCE,
        ),
        Mutation("PodDisruptionBudget", "booking", ("spec", "selector", "matchLabels"), {"app": "booking"}, REFERENCE),
        Mutation(
            "ConfigMap", "prebook-settings", ("data", "PREBOOK_INTERNAL_URL_PRICING"), "http://pricing:8080", REFERENCE
        ),
        Mutation("PodMonitor", "prebook", ("spec", "podMetricsEndpoints", 0, "port"), "metrics", REFERENCE),
        Mutation("TopicPermission", BOOKING_REQUESTS, ("spec", "permissions", "exchange"), "prebook.request", MODEL),
        Mutation("TopicPermission", BOOKING_REQUESTS, ("spec", "permissions", "write"), ".*", MODEL),
        Mutation("Permission", "prebook-archive-reader", ("spec", "permissions", "configure"), ".*", MODEL),
        Mutation("Queue", PARTITION, ("spec", "arguments", "x-single-active-consumer"), False, MODEL),
        Mutation("Binding", slot, ("spec", "arguments", HASH_SLOT_HEADER), 4, MODEL),
        Mutation("Binding", event, ("spec", "routingKey"), "request.quote-fare", MODEL),
        Mutation("Policy", PARTITION, ("spec", "definition", "overflow"), "drop-head", MODEL),
        Mutation("Binding", slot, ("spec", "vhost"), DELETE, MODEL),
        Mutation(
            "NetworkPolicy",
            "matching",
            ("spec", "egress", to_fleets[0], "to", to_fleets[1], "podSelector", "matchLabels", label),
            "pricing",
            MODEL,
        ),
        Mutation(
            "NetworkPolicy",
            "pricing",
            ("spec", "ingress", from_booking[0], "from", from_booking[1], "podSelector", "matchLabels"),
            {"app.kubernetes.io/part-of": "prebook"},
            MODEL,
        ),
        Mutation("ScaledObject", "notification", ("spec", "maxReplicaCount"), 8, MODEL),
        Mutation(
            "ScaledObject",
            "pricing",
            (*pricing_trigger, "metadata", "queueName"),
            "pricing.requests.quote_fares",
            MODEL,
        ),
        Mutation("ScaledObject", "booking", (*trigger, "metadata", "protocol"), "amqp", POLICY),
        Mutation("Deployment", "booking", (*POD, "terminationGracePeriodSeconds"), 20, POLICY),
        Mutation("PodDisruptionBudget", "pricing", ("spec", "maxUnavailable"), 0, POLICY),
        Mutation("Deployment", "matching", (*CONTAINER, "resources", "requests", "memory"), "256Mi", POLICY),
        Mutation("Deployment", "pricing", (*POD, "securityContext", "runAsUser"), 10001, POLICY),
        Mutation("Deployment", PROCESSES[0], (*CONTAINER, "image"), "registry.example.com/prebook:latest", POLICY),
        Mutation("Deployment", "booking", (*CONTAINER, "readinessProbe", "httpGet", "path"), "/readyz", POLICY),
        Mutation("HTTPRoute", "booking", ("spec", "rules", 0, "matches", 0, "path", "value"), "/", POLICY),
        Mutation("Cluster", "prebook-db", ("spec", "postgresql", "parameters", "max_connections"), "100", POLICY),
    ]


def further_defects(documents: list[Json]) -> list[Mutation]:
    """Return defects of the same kinds that are in no list; the check was not written for them."""
    job = next(d["metadata"]["name"] for d in documents if d["kind"] == "Job")
    slot = binding_name(documents, "booking.events", **{HASH_SLOT_HEADER: "7"})
    shared_event = binding_name(documents, "prebook.events", routingKey="event.booking_ended")
    connections = variable_index(documents, job, "PREBOOK_ROLE_CONNECTIONS")
    other_password = variable_index(documents, job, "PASSWORD_OF_FLEETS")
    label = "app.kubernetes.io/name"
    return [
        Mutation("Exchange", "prebook.requests", ("spec", "durable"), "true", SCHEMA),
        Mutation("Deployment", "fleets", (*CONTAINER, "readinessProbe"), Rename("readinesProbe"), SCHEMA),
        Mutation("PodMonitor", "prebook", ("spec", "podMetricsEndpoints"), Rename("endpoints"), SCHEMA),
        Mutation("Cluster", "prebook-db", ("spec", "storage"), Rename("Storage"), SCHEMA),
        Mutation("ScheduledBackup", "prebook-db", ("spec", "cluster", "name"), "prebook", REFERENCE),
        Mutation("ObjectStore", "prebook-backup", (*S3, "accessKeyId", "key"), "ACCESS_KEY", REFERENCE),
        Mutation("Deployment", "pricing", (*CONTAINER, "volumeMounts", 0, "mountPath"), "/run/secrets", REFERENCE),
        Mutation("Deployment", "operations", (*POD, "serviceAccountName"), "operation", REFERENCE),
        Mutation("Service", "booking", ("spec", "ports", 0, "targetPort"), "internal", REFERENCE),
        Mutation("User", "pricing", ("spec", "importCredentialsSecret", "name"), "prebook-matching", MODEL),
        Mutation("ExternalSecret", "booking", ("spec", "target", "template", "metadata"), {}, REFERENCE),
        Mutation("TriggerAuthentication", "prebook-observer", ("spec", "secretTargetRef", 0, "key"), "url", REFERENCE),
        Mutation("HTTPRoute", "booking", ("spec", "rules", 0, "backendRefs", 0, "port"), 8001, POLICY),
        Mutation("Exchange", "booking.events", ("spec", "arguments"), DELETE, MODEL),
        Mutation("Exchange", "prebook.events", ("spec", "type"), DELETE, MODEL),
        Mutation("Binding", slot, ("spec", "destination"), "booking.events.0", MODEL),
        Mutation("Binding", shared_event, ("spec", "destination"), "pricing.event", MODEL),
        Mutation("Queue", "prebook.archive", ("spec", "type"), "quorum", MODEL),
        Mutation("Policy", "prebook.delay.1000", ("spec", "definition", "message-ttl"), 10000, MODEL),
        Mutation("Policy", "prebook.parking", ("spec", "definition", "delivery-limit"), DELETE, MODEL),
        Mutation("Permission", "prebook-fleets", ("spec", "user"), "prebook_matching", MODEL),
        Mutation("User", "booking", ("spec", "tags"), ["administrator"], MODEL),
        Mutation("Vhost", "prebook", ("spec", "deletionPolicy"), "delete", MODEL),
        Mutation("NetworkPolicy", "default-deny", ("spec", "podSelector", "matchLabels"), {"app": "prebook"}, MODEL),
        Mutation("NetworkPolicy", "broker", ("spec", "ingress", 0, "ports", 0), DELETE, MODEL),
        Mutation("NetworkPolicy", "broker-from-keda", (*FIRST_PEER, "podSelector"), DELETE, MODEL),
        Mutation("NetworkPolicy", "setup", ("spec", "policyTypes"), ["Ingress"], MODEL),
        Mutation("NetworkPolicy", "database", ("spec", "ingress", 0, "ports", 0, "endPort"), 9187, MODEL),
        Mutation("Job", job, (*CONTAINER, "env", connections, "value"), "60", MODEL),
        Mutation("Job", job, (*CONTAINER, "env", other_password, *SECRET_KEY, "name"), "prebook-pricing", MODEL),
        Mutation("Deployment", "fleets", (*POD, "volumes", 0, *SECRET_SOURCE), "prebook-operations", MODEL),
        Mutation("ConfigMap", "prebook-settings", ("data", "PREBOOK_ALLOW_PLAN_OVERRIDE"), "true", MODEL),
        Mutation("ConfigMap", "prebook-settings", ("data", "PREBOOK_LOG_LEVEL"), "warn", POLICY),
        Mutation("ConfigMap", "prebook-couplings", ("data", "couplings.toml"), "", MODEL),
        Mutation("ScaledObject", "fleets", ("spec", "minReplicaCount"), 0, POLICY),
        Mutation("RabbitmqCluster", "prebook-broker", ("spec", "replicas"), 2, POLICY),
        Mutation("Cluster", "prebook-db", (*SYNCHRONOUS, "dataDurability"), "preferred", POLICY),
        Mutation("Cluster", "prebook-db", ("spec", "resources", "requests", "memory"), "4Gi", POLICY),
        Mutation("Password", "prebook-password", ("spec", "symbols"), DELETE, POLICY),
        Mutation("Deployment", "matching", (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), DELETE, POLICY),
        Mutation("PrometheusRule", "prebook", (*FIRST_RULES, 1, "expr"), "prebook_outbox_oldest_seconds > 10", POLICY),
        Mutation("Namespace", "prebook", ("metadata", "labels", ENFORCE), "privileged", POLICY),
        Mutation("PodDisruptionBudget", "fleets", ("spec", "selector", "matchLabels", label), "matching", REFERENCE),
    ]
