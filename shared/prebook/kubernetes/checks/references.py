"""Reference step: what selectors, routes, monitors, scalers, URLs and resources of operators name exists."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prebook.kubernetes import names
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import (
    Manifests,
    name_of,
    read_items,
    read_mapping,
    read_number,
    read_text,
    read_value,
    selects,
    walk_mappings,
)
from prebook.kubernetes.checks.pod_references import check_pod_references
from prebook.kubernetes.checks.provided import (
    pod_groups,
    provided_secrets,
    provided_services,
    secret_labels,
)
from prebook.kubernetes.documents import Document, identity
from prebook.kubernetes.suite_model import SuiteModel

URL = re.compile(r"(?:https?|amqps?|postgresql(?:\+asyncpg)?)://(?:[^@/\n\x22]*@)?([A-Za-z0-9.-]+)(?::([0-9]+))?")
DEFAULT_PORTS = {"http": 80, "https": 443, "amqp": 5672, "amqps": 5671, "postgresql": 5432, "postgresql+asyncpg": 5432}
CREDENTIAL_KEYS = frozenset({"username", "password"})
TOPOLOGY_KINDS = ("Vhost", "Exchange", "Queue", "Binding", "Policy", "User", "Permission", "TopicPermission")
NAMES_OF_OTHERS = ("kind", "name")


def check_references(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    """Yield every name that leads nowhere."""
    secrets = provided_secrets(manifests, model.cluster.provided_secrets)
    yield from check_pod_references(manifests, secrets)
    yield from _service_findings(manifests)
    yield from _selector_findings(manifests)
    yield from _url_findings(manifests, model)
    yield from _route_findings(manifests, model)
    yield from _monitor_findings(manifests)
    yield from _scaler_findings(manifests, secrets)
    yield from _broker_findings(manifests, secrets)
    yield from _database_findings(manifests, secrets)
    yield from _generator_findings(manifests)
    yield from _namespace_findings(manifests)


def _finding(document: Document, problem: str, remedy: str) -> Finding:
    return Finding(CheckStep.REFERENCE, identity(document), problem, remedy)


def _service_findings(manifests: Manifests) -> Iterator[Finding]:
    for service in manifests.of_kind("Service"):
        selector = read_mapping(service, "spec", "selector")
        workloads = manifests.selected({"matchLabels": selector}) if selector else []
        if not workloads:
            yield _finding(service, f"its selector {dict(selector)} selects no pod", "use the labels of a workload")
        elif {workload.name for workload in workloads} != {name_of(service)}:
            found = ", ".join(workload.name for workload in workloads)
            yield _finding(service, f"it selects pods of {found}", "select the pods with its name only")
        for port in read_items(service, "spec", "ports"):
            target = read_value(port, "targetPort")
            for workload in workloads:
                if workload.port_names.get(str(target)) != read_number(port, "port"):
                    problem = f"port {port.get('port')} leads to {target!r}, which {workload.name} does not have there"
                    yield _finding(service, problem, "let targetPort name the container's port with the same number")


def _selector_findings(manifests: Manifests) -> Iterator[Finding]:
    """Yield selectors of workloads, of disruption budgets and of spreads that do not select the workload's own pods."""
    groups = [*pod_groups(manifests)]
    for budget in manifests.of_kind("PodDisruptionBudget"):
        selector = read_mapping(budget, "spec", "selector")
        selected = [group.name for group in groups if selector and selects(selector, group.labels)]
        if selected != [name_of(budget)]:
            found = ", ".join(selected) or "no pod"
            yield _finding(budget, f"its selector selects {found}", "select the pods with its name only")
    for workload in manifests.workloads:
        selectors = [read_mapping(c, "labelSelector") for c in read_items(workload.pod, "topologySpreadConstraints")]
        if read_text(workload.document, "kind") != "Job":
            selectors.append(read_mapping(workload.document, "spec", "selector"))
        for selector in selectors:
            if not selector or [w.name for w in manifests.selected(selector)] != [workload.name]:
                yield _finding(workload.document, f"a selector {dict(selector)} does not select its own pods only",
                               f"use {names.NAME_LABEL}: {workload.name}")  # fmt: skip
    for cluster in manifests.of_kind("RabbitmqCluster"):
        own = {names.NAME_LABEL: name_of(cluster)}
        for mapping in walk_mappings(read_mapping(cluster, "spec")):
            if "labelSelector" in mapping and not selects(read_mapping(mapping, "labelSelector"), own):
                yield _finding(cluster, "a label selector does not select its own pods", f"use {own}")


def _url_findings(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    """Yield URLs whose host is no Service of the namespace, or whose port the Service does not have."""
    services = provided_services(manifests)
    external = {read_host(model.cluster.external.management_url)} if not manifests.of_kind("RabbitmqCluster") else set()
    for document in (*manifests.of_kind("ConfigMap", "ExternalSecret"), *(w.document for w in manifests.workloads)):
        for field, value in _texts(document):
            for match in URL.finditer(value) if not field.endswith(".toml") else ():
                host, port = match.groups()
                service = host.removesuffix(f".{names.NAMESPACE}.svc")
                number = int(port) if port else DEFAULT_PORTS[match[0].partition("://")[0]]
                if service not in services:
                    if host not in external:
                        yield _finding(document, f"{field}: there is no Service {host!r}", "name a Service that exists")
                elif number not in services[service]:
                    ports = ", ".join(map(str, sorted(services[service])))
                    yield _finding(document, f"{field}: the Service {host} has no port {number}", f"use one of {ports}")


def read_host(url: str) -> str:
    """Return the host of a URL."""
    match = URL.match(url)
    return match[1] if match else ""


def _texts(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text inside of a value, with the name of its field or of its variable."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, Mapping):
        variable = value.get("name") if "value" in value else None
        for key, item in value.items():
            yield from _texts(item, str(variable or key))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, field)


def _route_findings(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    services = provided_services(manifests)
    for route in manifests.of_kind("HTTPRoute"):
        for parent in read_items(route, "spec", "parentRefs"):
            if (namespace := read_text(parent, "namespace")) != model.cluster.namespaces.gateway:
                yield _finding(route, f"its Gateway is in {namespace!r}", "use the namespace of cluster.toml")
        for rule in read_items(route, "spec", "rules"):
            if not read_items(rule, "backendRefs"):
                yield _finding(route, "a rule has no backend", "name a Service and its port")
            for backend in read_items(rule, "backendRefs"):
                name = read_text(backend, "name")
                if name not in services:
                    yield _finding(route, f"there is no Service {name!r}", "name a Service of the namespace")
                elif read_number(backend, "port") not in services[name]:
                    yield _finding(route, f"the Service {name} has no port {backend.get('port')}", "use its port")


def _monitor_findings(manifests: Manifests) -> Iterator[Finding]:
    groups = [*pod_groups(manifests)]
    for monitor in manifests.of_kind("PodMonitor"):
        selected = [group for group in groups if selects(read_mapping(monitor, "spec", "selector"), group.labels)]
        if not selected:
            yield _finding(monitor, "it selects no pod", "use the labels of the pods that it is for")
        for endpoint in read_items(monitor, "spec", "podMetricsEndpoints"):
            port = read_text(endpoint, "port")
            for group in selected:
                if port not in group.port_names:
                    problem = f"pods of {group.name} have no port {port!r}, so nothing is read from them"
                    yield _finding(monitor, problem, f"use one of {', '.join(group.port_names) or 'none'}")


def _scaler_findings(manifests: Manifests, secrets: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    deployments = manifests.named("Deployment")
    authentications = manifests.named("TriggerAuthentication")
    for scaler in manifests.of_kind("ScaledObject"):
        target = read_text(scaler, "spec", "scaleTargetRef", "name")
        if target not in deployments:
            yield _finding(scaler, f"there is no Deployment {target!r} to scale", "name the Deployment of the service")
        elif target != name_of(scaler):
            yield _finding(scaler, f"it scales {target!r}", "scale the Deployment with its name")
        for trigger in read_items(scaler, "spec", "triggers"):
            name = read_text(trigger, "authenticationRef", "name")
            if name not in authentications and trigger.get("type") != "cpu":
                yield _finding(scaler, f"there is no TriggerAuthentication {name!r}", "name the observer's")
    for document in authentications.values():
        for reference in read_items(document, "spec", "secretTargetRef"):
            yield from _secret_key_findings(document, reference, secrets)


def _broker_findings(manifests: Manifests, secrets: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    clusters = manifests.named("RabbitmqCluster")
    for document in manifests.of_kind(*TOPOLOGY_KINDS):
        name = read_text(document, "spec", "rabbitmqClusterReference", "name")
        if name not in clusters:
            problem = f"there is no RabbitmqCluster {name!r}, so it is never declared"
            yield _finding(document, problem, "correct the name")
    for user in manifests.of_kind("User"):
        secret = read_text(user, "spec", "importCredentialsSecret", "name")
        if secret not in secrets:
            yield _finding(user, f"there is no Secret {secret!r} with its credentials", "name the account's Secret")
        elif missing := CREDENTIAL_KEYS - secrets[secret]:
            yield _finding(user, f"the Secret {secret} has no {', '.join(sorted(missing))}", "add it to its template")
        elif secret_labels(manifests, secret).get(names.OPERATOR_LABEL) != "true":
            remedy = f'label it {names.OPERATOR_LABEL}: "true"'
            yield _finding(user, f"the operator does not see the Secret {secret}", remedy)


def _database_findings(manifests: Manifests, secrets: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    clusters = manifests.named("Cluster")
    stores = manifests.named("ObjectStore")
    for cluster in clusters.values():
        for plugin in read_items(cluster, "spec", "plugins"):
            store_name = read_text(plugin, "parameters", "barmanObjectName")
            if store_name not in stores:
                yield _finding(cluster, f"there is no ObjectStore {store_name!r}", "correct the name, or add the store")
        owner = read_text(cluster, "spec", "bootstrap", "initdb", "owner")
        roles = [read_text(role, "name") for role in read_items(cluster, "spec", "managed", "roles")]
        if roles != [owner]:
            yield _finding(cluster, f"it manages {roles}, and its owner is {owner!r}", "manage the owner only")
    for store in stores.values():
        for reference in walk_mappings(read_mapping(store, "spec", "configuration", "s3Credentials")):
            if "key" in reference:
                yield from _secret_key_findings(store, reference, secrets)
    yield from _backup_findings(manifests)


def _backup_findings(manifests: Manifests) -> Iterator[Finding]:
    clusters = manifests.named("Cluster")
    for backup in manifests.of_kind("ScheduledBackup"):
        name = read_text(backup, "spec", "cluster", "name")
        plugin = read_text(backup, "spec", "pluginConfiguration", "name")
        if name not in clusters:
            yield _finding(backup, f"there is no Cluster {name!r} to back up", "correct the name")
        elif plugin not in {read_text(p, "name") for p in read_items(clusters[name], "spec", "plugins")}:
            yield _finding(backup, f"the Cluster {name} has no plugin {plugin!r}", "use the plugin of the Cluster")


def _secret_key_findings(
    document: Document, reference: Mapping[str, Any], secrets: Mapping[str, frozenset[str]]
) -> Iterator[Finding]:
    name = read_text(reference, "name")
    key = read_text(reference, "key")
    if name not in secrets:
        yield _finding(document, f"there is no Secret {name!r}", "correct the name, or add it to cluster.toml")
    elif key not in secrets[name]:
        remedy = f"use one of {', '.join(sorted(secrets[name]))}"
        yield _finding(document, f"the Secret {name} has no key {key!r}", remedy)


def _generator_findings(manifests: Manifests) -> Iterator[Finding]:
    for secret in manifests.of_kind("ExternalSecret"):
        references = [read_mapping(s, "sourceRef", "generatorRef") for s in read_items(secret, "spec", "dataFrom")]
        if not references:
            yield _finding(secret, "it has no source of its password", "refer to the Password generator")
        for reference in references:
            kind = read_text(reference, "kind")
            generator = manifests.named(kind).get(read_text(reference, "name"))
            if generator is None or generator.get("apiVersion") != reference.get("apiVersion"):
                yield _finding(secret, f"there is no generator {kind}/{reference.get('name')}", "correct the reference")


def _namespace_findings(manifests: Manifests) -> Iterator[Finding]:
    namespaces = manifests.named("Namespace")
    for document in manifests.documents:
        namespace = read_text(document, "metadata", "namespace")
        if document.get("kind") != "Namespace" and namespace not in namespaces:
            yield _finding(document, f"there is no Namespace {namespace!r}", "set namespace in the kustomization")
    yield from _duplicate_findings(manifests.documents)


def _duplicate_findings(documents: Iterable[Document]) -> Iterator[Finding]:
    seen: set[tuple[Any, str]] = set()
    for document in documents:
        key = (document.get("apiVersion"), identity(document))
        if key in seen:
            yield _finding(document, "it occurs twice, and the later one wins", "remove one of them")
        seen.add(key)
