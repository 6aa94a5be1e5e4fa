"""Policy step, pods: images, users, privileges, resources, probes, stop and roll-out. Each rule has its reason."""

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from prebook.devstack.container_users import SECRETS_GID
from prebook.flows import PROCESSES
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.image_policy import image_problem
from prebook.kubernetes.checks.manifests import (
    Manifests,
    Workload,
    name_of,
    read_items,
    read_mapping,
    read_number,
    read_text,
    read_texts,
    read_value,
)
from prebook.kubernetes.documents import identity
from prebook.kubernetes.drain import max_drain_s
from prebook.kubernetes.names import NAME_LABEL, PART_LABEL, PART_OF, SETUP, UIDS
from prebook.kubernetes.quantities import parse_quantity
from prebook.kubernetes.suite_model import OverlayParts, SuiteModel

Problem = tuple[str, str]
"""Problem and remedy."""
PROBE_PATHS = {"startupProbe": "/readyz", "readinessProbe": "/livez", "livenessProbe": "/livez"}
"""Readiness and liveness must not depend on what all replicas share: they would fail together."""
PROBE_DURATIONS_S = {"startupProbe": (120, 900), "readinessProbe": (10, 60), "livenessProbe": (30, 300)}
"""Shortest and longest time until a probe acts: period times failures."""
MAX_PROBE_PERIOD_S = 15
MIN_PRESTOP_S = 5
"""Endpoints are withdrawn meanwhile."""
MAX_TMP_BYTES = 64 * 1024**2
MIN_PROGRESS_DEADLINE_S = 360
SECRET_MODES = (0o400, 0o440)
POD_SECURITY: Mapping[str, object] = {"runAsNonRoot": True, "runAsGroup": SECRETS_GID, "fsGroup": SECRETS_GID}
CONTAINER_SECURITY: Mapping[str, object] = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
"""Everything that a container's security context may say, so that nothing is added to it."""
POD_FIELDS = frozenset(
    {"serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds"}
    | {"securityContext", "topologySpreadConstraints", "containers", "volumes", "restartPolicy"}
)
VOLUME_KINDS = frozenset({"name", "secret", "projected", "configMap", "emptyDir", "persistentVolumeClaim"})


def check_pod_policy(manifests: Manifests, model: SuiteModel, parts: OverlayParts) -> Iterator[Finding]:
    """Yield every rule that a workload breaks."""
    for workload in manifests.workloads:
        rules = [_security_problems, _resource_problems, _volume_problems, _mount_problems, _label_problems]
        if workload.name in PROCESSES:
            rules += [_probe_problems, _stop_problems, _command_problems]
        for rule in rules:
            for problem, remedy in rule(workload):
                yield Finding(CheckStep.POLICY, workload.identity, problem, remedy)
        for problem, remedy in _rollout_problems(workload, model, parts):
            yield Finding(CheckStep.POLICY, workload.identity, problem, remedy)
    yield from _image_findings(manifests)
    yield from _user_findings(manifests)
    yield from _budget_findings(manifests, model)


def _security_problems(workload: Workload) -> Iterator[Problem]:
    pod = workload.pod
    for field in sorted(pod.keys() - POD_FIELDS):
        yield f"the pod has {field}, which nothing here needs", "remove it"
    for field in ("automountServiceAccountToken", "enableServiceLinks"):
        if pod.get(field) is not False:
            yield f"{field} is not false", f"set {field}: false"
    security = read_mapping(pod, "securityContext")
    for field, value in POD_SECURITY.items():
        if security.get(field) != value:
            yield f"securityContext.{field} is {security.get(field)}", f"set {field}: {value}"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "the system calls of the pod are not restricted", "set seccompProfile: {type: RuntimeDefault}"
    if further := security.keys() - POD_SECURITY.keys() - {"runAsUser", "seccompProfile"}:
        yield f"securityContext has {', '.join(sorted(further))}", "remove it"
    for container in workload.containers:
        if read_mapping(container, "securityContext") != CONTAINER_SECURITY:
            yield "a container has more privileges than it needs", f"set securityContext: {dict(CONTAINER_SECURITY)}"


def _resource_problems(workload: Workload) -> Iterator[Problem]:
    for container in workload.containers:
        requests = read_mapping(container, "resources", "requests")
        limits = read_mapping(container, "resources", "limits")
        for name, amounts in (("requests", requests), ("limits", limits)):
            for resource, amount in amounts.items():
                if not parse_quantity(amount):
                    yield f"{name}.{resource} {amount!r} is no quantity above 0", "write 400m, or 128Mi"
        if {*requests} != {"cpu", "memory"} or {*limits} != {"memory"}:
            yield "it asks for or limits other things than it should", "request cpu and memory, limit memory only"
        if (parse_quantity(requests.get("memory")) or 0) > (parse_quantity(limits.get("memory")) or 0):
            yield "it requests more memory than its limit", "raise the limit or lower the request"


def _volume_problems(workload: Workload) -> Iterator[Problem]:
    for volume in read_items(workload.pod, "volumes"):
        name = read_text(volume, "name")
        if further := volume.keys() - VOLUME_KINDS:
            yield f"the volume {name} is a {', '.join(sorted(further))}", "use Secrets, ConfigMaps and an emptyDir only"
        for field in ("secret", "projected"):
            if field in volume and read_value(volume, field, "defaultMode") not in SECRET_MODES:
                yield f"other users may read the secrets of the volume {name}", "set defaultMode: 0440"
        if "emptyDir" in volume:
            size = parse_quantity(read_value(volume, "emptyDir", "sizeLimit")) or 0
            if not 0 < size <= MAX_TMP_BYTES or read_text(volume, "emptyDir", "medium") != "Memory":
                yield f"the volume {name} is not a small one in memory", "set medium: Memory and sizeLimit: 16Mi"


def _mount_problems(workload: Workload) -> Iterator[Problem]:
    for container in workload.containers:
        for mount in read_items(container, "volumeMounts"):
            if read_text(mount, "mountPath") != "/tmp" and mount.get("readOnly") is not True:  # noqa: S108
                yield f"the mount {mount.get('name')} can be written", "set readOnly: true"
            if further := mount.keys() - {"name", "mountPath", "readOnly"}:
                yield f"the mount {mount.get('name')} has {', '.join(sorted(further))}", "remove it"


def _label_problems(workload: Workload) -> Iterator[Problem]:
    name = SETUP if read_text(workload.document, "kind") == "Job" else workload.name
    if workload.labels != {NAME_LABEL: name, PART_LABEL: PART_OF}:
        expected = {NAME_LABEL: name, PART_LABEL: PART_OF}
        yield f"its pods have the labels {dict(workload.labels)}; policies rely on them", f"use {expected}"


def _probe_problems(workload: Workload) -> Iterator[Problem]:
    for container in workload.containers:
        for probe, path in PROBE_PATHS.items():
            if (actual := read_text(container, probe, "httpGet", "path")) != path:
                yield f"{probe} asks {actual or 'nothing'}", f"let it ask {path}"
            if read_text(container, probe, "httpGet", "port") != "internal":
                yield f"{probe} does not ask the internal listener", "set port: internal"
            period = read_number(container, probe, "periodSeconds")
            duration = period * read_number(container, probe, "failureThreshold")
            shortest, longest = PROBE_DURATIONS_S[probe]
            if not shortest <= duration <= longest or not 0 < period <= MAX_PROBE_PERIOD_S:
                yield (
                    f"{probe} acts after {duration} s, every {period} s",
                    f"let it act after {shortest} to {longest} s",
                )
            if not 2 <= read_number(container, probe, "timeoutSeconds") <= period + 2:  # noqa: PLR2004 - see /readyz
                yield f"{probe} has no fitting timeout", "set timeoutSeconds to 4: /readyz may take 2"
            if further := read_mapping(container, probe).keys() - _PROBE_FIELDS:
                yield f"{probe} has {', '.join(sorted(further))}", "remove it"


_PROBE_FIELDS = frozenset({"httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"})


def _stop_problems(workload: Workload) -> Iterator[Problem]:
    for container in workload.containers:
        pause = read_number(container, "lifecycle", "preStop", "sleep", "seconds")
        if pause < MIN_PRESTOP_S:
            yield (
                f"it stops {pause} s after its deletion, when requests still arrive",
                "set preStop: {sleep: {seconds: 5}}",
            )
        needed = pause + max_drain_s()
        grace = read_number(workload.pod, "terminationGracePeriodSeconds")
        if not needed <= grace <= 3 * needed:
            remedy = f"set it to {needed:g} s, the pause and the longest drain, or somewhat more"
            yield f"terminationGracePeriodSeconds is {grace}", remedy


def _command_problems(workload: Workload) -> Iterator[Problem]:
    for container in workload.containers:
        command = [*read_texts(container, "command"), *read_texts(container, "args")]
        if command != ["python", "-m", f"prebook.{workload.name}"] or container.get("name") != workload.name:
            yield f"it runs {command}", f"run python -m prebook.{workload.name} in the container {workload.name}"
    if len(workload.containers) != 1:
        yield f"it has {len(workload.containers)} containers", "use one, the service"


def _rollout_problems(workload: Workload, model: SuiteModel, parts: OverlayParts) -> Iterator[Problem]:
    spec = read_mapping(workload.document, "spec")
    if workload.name in PROCESSES:
        size = model.cluster.services[workload.name]
        is_scaled = parts.has_autoscaling and size.max_replicas > size.min_replicas
        expected = None if is_scaled else size.min_replicas
        if spec.get("replicas") != expected:
            yield (
                f"replicas is {spec.get('replicas')}; should be {expected}",
                "correct cluster.toml, or remove the field",
            )
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        if read_mapping(spec, "strategy") != strategy:
            yield "a roll-out would use more connections, or take replicas away first", f"set strategy: {strategy}"
        if read_number(spec, "progressDeadlineSeconds") < MIN_PROGRESS_DEADLINE_S:
            yield "a roll-out counts as stuck too early", "set progressDeadlineSeconds: 420"
        if size.min_replicas > 1 and not read_items(workload.pod, "topologySpreadConstraints"):
            yield "its replicas may all be in one zone", "add topologySpreadConstraints"
        for constraint in read_items(workload.pod, "topologySpreadConstraints"):
            rule = (constraint.get("maxSkew"), constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"))
            if rule != (1, "topology.kubernetes.io/zone", "ScheduleAnyway"):
                yield f"it is spread by {rule}", "spread over zones with maxSkew 1, and schedule anyway"
            if read_texts(constraint, "matchLabelKeys") != ["pod-template-hash"]:
                yield "a roll-out does not spread its own pods", "set matchLabelKeys: [pod-template-hash]"
    elif read_text(workload.document, "kind") == "Job":
        yield from _job_problems(workload)


def _job_problems(workload: Workload) -> Iterator[Problem]:
    spec = read_mapping(workload.document, "spec")
    if workload.name != (name := f"{SETUP}-{version('prebook').replace('.', '-')}"):
        yield "a Job cannot change, so its name needs the version", f"call it {name}"
    if read_text(workload.pod, "restartPolicy") != "OnFailure" or not 3 <= read_number(spec, "backoffLimit") <= 20:  # noqa: PLR2004
        yield "it is not tried again while broker and database start", "set restartPolicy: OnFailure, backoffLimit: 6"
    if not 300 <= read_number(spec, "activeDeadlineSeconds") <= 3600:  # noqa: PLR2004
        yield "it has no fitting deadline", "set activeDeadlineSeconds: 900"
    if read_number(spec, "ttlSecondsAfterFinished") <= 0:
        yield "it stays for ever", "set ttlSecondsAfterFinished: 86400"
    for container in workload.containers:
        if read_texts(container, "command") != ["prebook"]:
            yield f"it runs {container.get('command')}", "run prebook"


def _image_findings(manifests: Manifests) -> Iterator[Finding]:
    """Yield images without a version, and those that are not the one of most workloads: all run the same release."""
    images = [(w.identity, read_text(container, "image")) for w in manifests.workloads for container in w.containers]
    usual = Counter(image for _, image in images).most_common(1)
    for workload, image in images:
        if problem := image_problem(image):
            yield Finding(CheckStep.POLICY, workload, problem, "name a version or a digest")
        elif image != usual[0][0]:
            problem = f"its image {image} is not that of the others, {usual[0][0]}"
            yield Finding(CheckStep.POLICY, workload, problem, "run one release of the suite")


def _user_findings(manifests: Manifests) -> Iterator[Finding]:
    users = [(w, read_number(w.pod, "securityContext", "runAsUser")) for w in manifests.workloads]
    counts = Counter(user for _, user in users)
    for workload, user in users:
        expected = UIDS.get(read_text(workload.labels, NAME_LABEL))
        if counts[user] > 1 or user != expected:
            problem = f"it runs as user {user}; should be {expected}, a user for each workload"
            yield Finding(CheckStep.POLICY, workload.identity, problem, f"set runAsUser: {expected}")


def _budget_findings(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    """Yield disruption budgets that block a drain, and workloads with several replicas that have none."""
    budgets = manifests.named("PodDisruptionBudget")
    replicated = {name for name, size in model.cluster.services.items() if size.min_replicas > 1}
    replicated |= {*manifests.named("RabbitmqCluster")}
    for name in sorted(replicated - budgets.keys()):
        yield Finding(CheckStep.POLICY, f"PodDisruptionBudget/{name}", "it is missing", "add it")
    for name, budget in budgets.items():
        rule: Mapping[str, Any] = {k: v for k, v in read_mapping(budget, "spec").items() if k != "selector"}
        expected = {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
        if rule != expected or name not in replicated:
            problem = f"{rule} may block the drain of a node, or protect too little"
            yield Finding(CheckStep.POLICY, identity(budget), problem, f"use {expected}, for several replicas only")
        if name_of(budget) not in replicated:
            yield Finding(CheckStep.POLICY, identity(budget), "a single replica would block every drain", "remove it")
