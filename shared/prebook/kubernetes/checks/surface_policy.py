"""Policy step, surface: routes, Services, namespace, scalers, alerts and accounts."""

import re
from collections.abc import Iterator, Mapping

from prebook.kubernetes import names
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import (
    Manifests,
    name_of,
    read_items,
    read_mapping,
    read_number,
    read_text,
    read_texts,
    read_value,
    walk_mappings,
)
from prebook.kubernetes.checks.metric_names import LABELS_OF_SCRAPES, SERVER_METRICS, SUITE_METRICS
from prebook.kubernetes.documents import Document, identity
from prebook.kubernetes.scaling import messages_per_replica
from prebook.kubernetes.suite_model import SuiteModel

PUBLIC_PREFIXES = frozenset({"/v1/bookings", "/v1/trips"})
"""Paths of riders' API. Everything else of booking is for services and operators."""
MIN_REQUEST_TIMEOUT_S = 35
"""A rider may wait for a synchronous booking."""
MAX_REQUEST_TIMEOUT_S = 120
DURATION = re.compile(r"([0-9]+)(ms|s|m|h)")
DURATION_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
METRIC = re.compile(r"\b((?:prebook|rabbitmq|cnpg)_[a-z0-9_]+|up)\b")
BY = re.compile(r"\bby \(([^)]*)\)")
SEVERITIES = ("page", "ticket")
LONGEST_HOLD_S = 900
SCRAPE_INTERVALS_S = (10, 60)
NAMESPACE_LABELS = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
}


def check_surface_policy(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    """Yield every rule that is broken."""
    for kind, problems in _RULES.items():
        for document in manifests.of_kind(kind):
            for problem, remedy in problems(document):
                yield Finding(CheckStep.POLICY, identity(document), problem, remedy)
    for scaler in manifests.of_kind("ScaledObject"):
        for problem, remedy in (*_scaler_problems(scaler), *_trigger_problems(scaler, model)):
            yield Finding(CheckStep.POLICY, identity(scaler), problem, remedy)
    routed = {read_text(b, "name") for r in manifests.of_kind("HTTPRoute") for b in _backends(r)}
    if routed != {"booking"}:
        problem = f"routes lead to {', '.join(sorted(routed)) or 'nothing'}"
        yield Finding(CheckStep.POLICY, "HTTPRoute", problem, "let them lead to booking, and nowhere else")
    if len(manifests.of_kind("Namespace")) != 1:
        yield Finding(CheckStep.POLICY, "Namespace", "there is not exactly one", f"add {names.NAMESPACE} to the base")


def _backends(route: Document) -> Iterator[Mapping[str, object]]:
    for rule in read_items(route, "spec", "rules"):
        yield from read_items(rule, "backendRefs")


def _route_problems(route: Document) -> Iterator[tuple[str, str]]:
    rules = read_items(route, "spec", "rules")
    matches = [match for rule in rules for match in read_items(rule, "matches")]
    prefixes = [read_text(match, "path", "value") for match in matches]
    if {*prefixes} != PUBLIC_PREFIXES or len(prefixes) != len(PUBLIC_PREFIXES):
        yield f"it opens {', '.join(prefixes)}", f"open {', '.join(sorted(PUBLIC_PREFIXES))}, and never /"
    for match in matches:
        if match.keys() != {"path"} or read_text(match, "path", "type") != "PathPrefix":
            yield f"it matches {dict(match)}", "match by the prefix of the path"
    for rule in rules:
        yield from _route_rule_problems(rule)
    for backend in _backends(route):
        if backend.get("port") != names.PUBLIC_PORT or backend.keys() != {"name", "port"}:
            yield f"it leads to {dict(backend)}", f"lead to the public port {names.PUBLIC_PORT}"
    if not read_texts(route, "spec", "hostnames"):
        yield "it serves every host", "set hostnames"


def _route_rule_problems(rule: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    if not read_items(rule, "matches"):
        yield "a rule without matches opens every path", f"open {', '.join(sorted(PUBLIC_PREFIXES))} only"
    seconds = _seconds(read_text(rule, "timeouts", "request"))
    if not MIN_REQUEST_TIMEOUT_S <= seconds <= MAX_REQUEST_TIMEOUT_S:
        remedy = f"set timeouts: {{request: {MIN_REQUEST_TIMEOUT_S}s}}"
        yield "a rider may wait longer than the gateway does", remedy
    if further := rule.keys() - {"matches", "backendRefs", "timeouts"}:
        yield f"it has {', '.join(sorted(further))}", "remove it: nothing is retried, and a 503 passes as it is"


def _service_problems(service: Document) -> Iterator[tuple[str, str]]:
    ports = {"internal": names.INTERNAL_PORT}
    if name_of(service) in names.PUBLIC_SERVICES:
        ports["http"] = names.PUBLIC_PORT
    actual = {read_text(port, "name"): read_number(port, "port") for port in read_items(service, "spec", "ports")}
    if actual != ports:
        yield f"its ports are {actual}; should be {ports}", "give only booking and operations a public port"
    if further := read_mapping(service, "spec").keys() - {"selector", "ports"}:
        yield f"it has {', '.join(sorted(further))}", "remove it: the Gateway is the only way in"
    for port in read_items(service, "spec", "ports"):
        if port.keys() != {"name", "port", "targetPort"}:
            yield f"a port has {sorted(port)}", "set name, port and targetPort only"


def _namespace_problems(namespace: Document) -> Iterator[tuple[str, str]]:
    labels = read_mapping(namespace, "metadata", "labels")
    if labels != NAMESPACE_LABELS or name_of(namespace) != names.NAMESPACE:
        yield f"{name_of(namespace)} has the labels {dict(labels)}", f"use {names.NAMESPACE} with {NAMESPACE_LABELS}"


def _account_problems(account: Document) -> Iterator[tuple[str, str]]:
    if account.get("automountServiceAccountToken") is not False:
        yield "pods get a token of the API server, which none needs", "set automountServiceAccountToken: false"


def _scaler_problems(scaler: Document) -> Iterator[tuple[str, str]]:
    spec = read_mapping(scaler, "spec")
    lowest = read_number(spec, "minReplicaCount")
    highest = read_number(spec, "maxReplicaCount")
    if lowest < 1 or spec.get("idleReplicaCount") is not None:
        yield "it scales to zero: relays, deadlines and riders' API would end", "set minReplicaCount to 1 or more"
    if highest < lowest:
        yield f"maxReplicaCount {highest} is below minReplicaCount {lowest}", "raise it"
    if read_text(spec, "fallback", "behavior") != "currentReplicasIfHigher":
        yield "replicas would be removed while the broker does not answer", "set behavior: currentReplicasIfHigher"
    kinds = [read_text(trigger, "type") for trigger in read_items(spec, "triggers")]
    if kinds.count("cpu") != 1 or "rabbitmq" not in kinds:
        yield f"its triggers are {kinds}", "use one of processor time, and one for each queue"


def _trigger_problems(scaler: Document, model: SuiteModel) -> Iterator[tuple[str, str]]:
    for trigger in read_items(scaler, "spec", "triggers"):
        metadata = read_mapping(trigger, "metadata")
        if read_text(trigger, "metricType") != "AverageValue":
            yield f"a trigger compares by {trigger.get('metricType')}", "set metricType: AverageValue"
        if read_text(trigger, "type") == "rabbitmq":
            if read_text(metadata, "protocol") != "http":
                yield (
                    "it does not see unacknowledged messages, of which consumers have many in hand",
                    "set protocol: http",
                )
            if read_text(metadata, "mode") != "QueueLength" or "excludeUnacknowledged" in metadata:
                yield "it does not count all messages of the queue", "set mode: QueueLength, and exclude nothing"
            if read_text(metadata, "value") != str(messages_per_replica(model.policies)):
                yield f"its value is {metadata.get('value')}", f"set {messages_per_replica(model.policies)}"


def _monitor_problems(monitor: Document) -> Iterator[tuple[str, str]]:
    for endpoint in read_items(monitor, "spec", "podMetricsEndpoints"):
        interval = _seconds(read_text(endpoint, "interval"))
        lowest, highest = SCRAPE_INTERVALS_S
        if not lowest <= interval <= highest:
            yield f"it reads every {interval:g} s", f"read every {lowest} to {highest} s: each reads the outbox's depth"
        if "scrapeTimeout" in endpoint and not 1 <= _seconds(read_text(endpoint, "scrapeTimeout")) <= interval:
            yield "its timeout does not fit its interval", "set a scrapeTimeout below the interval"
        if read_text(endpoint, "path") != "/metrics":
            yield f"it reads {endpoint.get('path')}", "read /metrics"
        if further := endpoint.keys() - {"port", "path", "interval", "scrapeTimeout"}:
            yield f"an endpoint has {', '.join(sorted(further))}", "remove it"
    if not read_items(monitor, "spec", "podMetricsEndpoints"):
        yield "it reads nothing", "name a port"


def _rule_problems(document: Document) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for group in read_items(document, "spec", "groups"):
        for rule in read_items(group, "rules"):
            alert = read_text(rule, "alert")
            expression = read_text(rule, "expr")
            metrics = set(METRIC.findall(expression))
            known = {**SUITE_METRICS, **SERVER_METRICS}
            labels = {*LABELS_OF_SCRAPES, *(label for metric in metrics for label in known.get(metric, ()))}
            if wrong := {label.strip() for group in BY.findall(expression) for label in group.split(",")} - labels:
                yield f"{alert}: its metric has no label {', '.join(sorted(wrong))}", f"use {', '.join(sorted(labels))}"
            if unknown := metrics - known.keys():
                yield f"{alert}: there is no metric {', '.join(sorted(unknown))}", "use one that docs/guide.md lists"
            if not metrics or not re.search(r"(==|>=|>|<)\s*[0-9.]+$", expression):
                yield f"{alert}: {expression!r} compares no metric with a number", "compare a metric with a bound"
            if read_text(rule, "labels", "severity") not in SEVERITIES:
                yield f"{alert}: its severity is {read_value(rule, 'labels', 'severity')}", "use page or ticket"
            if not read_text(rule, "annotations", "summary") or not alert or alert in seen:
                yield f"{alert or expression}: it has no summary or no name of its own", "name it and say what is wrong"
            hold = rule.get("for", "1s")
            if not 0 < _seconds(hold if isinstance(hold, str) else "") <= LONGEST_HOLD_S:
                yield f"{alert}: it waits for {hold}", f"wait for at most {LONGEST_HOLD_S} s"
            seen.add(alert)


def _secret_problems(secret: Document) -> Iterator[tuple[str, str]]:
    if "stringData" in secret or any(read_mapping(secret, "data").values()):
        yield "it contains its values", "generate it from files that `prebook secrets` writes outside of the repository"


def _drawn_secret_problems(secret: Document) -> Iterator[tuple[str, str]]:
    target = read_mapping(secret, "spec", "target")
    if read_text(secret, "spec", "refreshPolicy") != "CreatedOnce":
        yield "its password would change while it is in use", "set refreshPolicy: CreatedOnce"
    if (read_text(target, "creationPolicy"), read_text(target, "deletionPolicy")) != ("Orphan", "Retain"):
        yield "the password would be lost with this document", "set creationPolicy: Orphan, deletionPolicy: Retain"
    if read_text(target, "template", "data", "password") != "{{ .password }}":
        yield "its password is not the drawn one", "set password: '{{ .password }}'"


def _password_problems(generator: Document) -> Iterator[tuple[str, str]]:
    spec = read_mapping(generator, "spec")
    if spec.get("symbols") != 0 or isinstance(spec.get("symbols"), bool):
        yield "symbols in a password would break its URLs", "write symbols: 0; without it, a quarter are symbols"
    if read_number(spec, "length") < 24:  # noqa: PLR2004
        yield "its passwords are short", "set length: 32"


def _config_map_problems(config_map: Document) -> Iterator[tuple[str, str]]:
    for mapping in walk_mappings(read_mapping(config_map, "data")):
        for key, value in mapping.items():
            if not isinstance(value, str):
                yield f"{key} is no text", "write it in quotes"


def _seconds(duration: str) -> float:
    match = DURATION.fullmatch(duration)
    return int(match[1]) * DURATION_UNITS_S[match[2]] if match else 0.0


_RULES = {
    "HTTPRoute": _route_problems,
    "Service": _service_problems,
    "Namespace": _namespace_problems,
    "ServiceAccount": _account_problems,
    "PodMonitor": _monitor_problems,
    "PrometheusRule": _rule_problems,
    "Secret": _secret_problems,
    "ExternalSecret": _drawn_secret_problems,
    "Password": _password_problems,
    "ConfigMap": _config_map_problems,
}
"""Rules of one document, by its kind."""
