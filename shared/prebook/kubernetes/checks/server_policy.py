"""Policy step, broker and database: durability, memory, versions, and enough connections for every pod."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prebook.kubernetes import names
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.image_policy import image_problem
from prebook.kubernetes.checks.manifests import Manifests, read_items, read_mapping, read_number, read_text, read_value
from prebook.kubernetes.cluster import SURGE
from prebook.kubernetes.documents import Document, identity
from prebook.kubernetes.quantities import parse_quantity
from prebook.kubernetes.suite_model import SuiteModel
from prebook.postgres.engine import CONNECTIONS_PER_PROCESS

Problem = tuple[str, str]
Path = tuple[str, ...]
RESERVED_CONNECTIONS = 20
"""Connections of setup, operators, replication and people."""
GIB = 1024**3
MIN_STORAGE_BYTES = 20 * GIB
NODE_COUNTS = (3, 5)
"""An odd number, of which a majority stays without one."""

BROKER_FIELDS: Mapping[Path, object] = {
    ("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"): [
        {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {names.NAME_LABEL: names.BROKER}},
        }
    ],
    ("override", "statefulSet", "spec", "template", "spec", "topologySpreadConstraints"): [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {names.NAME_LABEL: names.BROKER}},
        }
    ],
}
"""No two nodes on a machine, and all zones alike: a zone that is lost must leave a majority."""
BROKER_SETTINGS: Mapping[str, tuple[object, object]] = {
    "cluster_partition_handling": ("pause_minority", "pause_minority"),
    "disk_free_limit.relative": (1.0, 2.0),
    "vm_memory_high_watermark.relative": (0.4, 0.7),
    "collect_statistics_interval": (1_000.0, 15_000.0),
    "consumer_timeout": (900_000.0, 7_200_000.0),
}
"""Lowest and highest value of each setting; without pause_minority a partition of the network loses messages."""
BROKER_RANGES: Mapping[Path, tuple[float, float]] = {
    ("terminationGracePeriodSeconds",): (600, 7_200),
    ("persistence", "storage"): (MIN_STORAGE_BYTES, 4_096 * GIB),
    ("resources", "requests", "cpu"): (1, 32),
    ("resources", "requests", "memory"): (2 * GIB, 64 * GIB),
}
"""A node stops once every queue has a majority without it, and stores what services cannot take."""

DATABASE_FIELDS: Mapping[Path, object] = {
    ("postgresql", "synchronous"): {"method": "any", "number": 1, "dataDurability": "required"},
    ("postgresql", "parameters", "jit"): "off",
    ("postgresql", "parameters", "autovacuum_naptime"): "5s",
    ("affinity",): {
        "enablePodAntiAffinity": True,
        "podAntiAffinityType": "required",
        "topologyKey": "topology.kubernetes.io/zone",
    },
    ("bootstrap",): {"initdb": {"database": names.DATABASE_NAME, "owner": names.SETUP_ROLE}},
    ("managed", "roles"): [{"name": names.SETUP_ROLE, "ensure": "present", "login": True, "createrole": True}],
    ("primaryUpdateMethod",): "switchover",
    ("primaryUpdateStrategy",): "unsupervised",
}
"""A failover loses no commit whose messages have left; instances are in different zones; setup makes other roles."""
DATABASE_RANGES: Mapping[Path, tuple[float, float]] = {
    ("smartShutdownTimeout",): (1, 30),
    ("switchoverDelay",): (10, 120),
    ("stopDelay",): (30, 300),
    ("storage", "size"): (MIN_STORAGE_BYTES, 16_384 * GIB),
    ("walStorage", "size"): (MIN_STORAGE_BYTES, 4_096 * GIB),
    ("resources", "requests", "cpu"): (1, 64),
    ("resources", "requests", "memory"): (2 * GIB, 512 * GIB),
}
"""Nothing is written during a shutdown, whose times are 180, 3600 and 1800 s by default."""
KNOWN_PARAMETERS = frozenset({"jit", "autovacuum_naptime", "shared_buffers", "max_connections"})
BUFFER_SHARE = (0.1, 0.4)
"""Share of the memory that the database may use as buffers."""
BACKUP_FIELDS: Mapping[Path, object] = {
    ("schedule",): "0 0 */6 * * *",
    ("method",): "plugin",
    ("backupOwnerReference",): "self",
}
STORE_FIELDS: Mapping[Path, object] = {("retentionPolicy",): "30d"}


def check_server_policy(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    """Yield every rule that broker or database break."""
    for cluster in manifests.of_kind("RabbitmqCluster"):
        yield from _findings(cluster, BROKER_FIELDS, BROKER_RANGES, _broker_problems(cluster))
    for cluster in manifests.of_kind("Cluster"):
        further = [*_database_problems(cluster), *_connection_problems(cluster, manifests, model)]
        yield from _findings(cluster, DATABASE_FIELDS, DATABASE_RANGES, further)
    for backup in manifests.of_kind("ScheduledBackup"):
        yield from _findings(backup, BACKUP_FIELDS, {}, ())
    for store in manifests.of_kind("ObjectStore"):
        yield from _findings(store, STORE_FIELDS, {}, _store_problems(store))


def required_connections(manifests: Manifests, model: SuiteModel) -> int:
    """Return the connections of all pods at their maximum, during a roll-out, with a reserve."""
    scalers = manifests.named("ScaledObject")
    deployments = manifests.named("Deployment")
    pods = 0
    for service in model.cluster.services:
        scaled = read_number(scalers.get(service), "spec", "maxReplicaCount")
        pods += (scaled or read_number(deployments.get(service), "spec", "replicas")) + SURGE
    return pods * CONNECTIONS_PER_PROCESS + RESERVED_CONNECTIONS


def _findings(
    document: Document,
    fields: Mapping[Path, object],
    ranges: Mapping[Path, tuple[float, float]],
    further: Iterable[Problem],
) -> Iterator[Finding]:
    spec = read_mapping(document, "spec")
    problems = [*_field_problems(spec, fields), *_range_problems(spec, ranges), *further]
    for problem, remedy in problems:
        yield Finding(CheckStep.POLICY, identity(document), problem, remedy)


def _field_problems(spec: Mapping[str, Any], fields: Mapping[Path, object]) -> Iterator[Problem]:
    for path, expected in fields.items():
        actual = read_value(spec, *path)
        if repr(actual) != repr(expected) and (actual != expected or not isinstance(expected, dict | list)):
            yield f"{'.'.join(path)} is {actual!r}", f"set {expected!r}"


def _range_problems(spec: Mapping[str, Any], ranges: Mapping[Path, tuple[float, float]]) -> Iterator[Problem]:
    for path, (low, high) in ranges.items():
        actual = read_value(spec, *path)
        if not low <= (parse_quantity(actual) or 0) <= high:
            yield f"{'.'.join(path)} is {actual!r}", f"set {low:g} to {high:g}"


def _broker_problems(cluster: Document) -> Iterator[Problem]:
    spec = read_mapping(cluster, "spec")
    yield from _common_problems(spec, "replicas", "image", "rabbitmq")
    settings = {
        name.strip(): value.strip()
        for name, _, value in (line.partition("=") for line in _lines(spec, "rabbitmq", "additionalConfig"))
    }
    for name, (low, high) in BROKER_SETTINGS.items():
        text = settings.get(name, "")
        value = _number(text) if isinstance(low, float) else text
        if not low <= value <= high:  # type: ignore[operator]
            yield f"{name} is {text!r}", f"set it to {low}" if low == high else f"set it to {low:g} to {high:g}"
    if unknown := settings.keys() - BROKER_SETTINGS.keys():
        yield f"the check does not know the settings {', '.join(sorted(unknown))}", "correct them, or teach the check"


def _database_problems(cluster: Document) -> Iterator[Problem]:
    spec = read_mapping(cluster, "spec")
    yield from _common_problems(spec, "instances", "imageName", "postgresql")
    parameters = read_mapping(spec, "postgresql", "parameters")
    if unknown := parameters.keys() - KNOWN_PARAMETERS:
        yield f"the check does not know the parameters {', '.join(sorted(unknown))}", "correct them, or teach the check"
    memory = parse_quantity(read_value(spec, "resources", "limits", "memory")) or 0
    buffers = parse_quantity(read_text(parameters, "shared_buffers").removesuffix("B") + "i") or 0
    low, high = BUFFER_SHARE
    if not low * memory <= buffers <= high * memory:
        yield f"shared_buffers is {parameters.get('shared_buffers')!r}", f"set {low} to {high} of the memory"
    if not any(plugin.get("isWALArchiver") is True for plugin in read_items(spec, "plugins")):
        yield "its WAL is not archived", "set isWALArchiver: true"


def _store_problems(store: Document) -> Iterator[Problem]:
    path = read_text(store, "spec", "configuration", "destinationPath")
    if not path.startswith("s3://"):
        yield f"its destinationPath is {path!r}", "name a bucket: s3://prebook-backup/"


def _common_problems(spec: Mapping[str, Any], count_field: str, image_field: str, server: str) -> Iterator[Problem]:
    count = read_number(spec, count_field)
    if count not in NODE_COUNTS:
        yield f"{count_field} is {count}: no majority is left without one", f"use one of {NODE_COUNTS}"
    if problem := image_problem(read_text(spec, image_field)):
        yield problem, "name a version or a digest"
    elif read_text(spec, image_field).rpartition("/")[2].partition(":")[0].partition("@")[0] != server:
        yield f"{image_field} is {spec.get(image_field)!r}", f"use an image of {server}"
    amounts = [read_value(spec, "resources", kind, "memory") for kind in ("requests", "limits")]
    if amounts[0] != amounts[1]:
        yield f"its memory is not guaranteed: {amounts}", "set the same request and limit"


def _connection_problems(cluster: Document, manifests: Manifests, model: SuiteModel) -> Iterator[Problem]:
    text = read_text(cluster, "spec", "postgresql", "parameters", "max_connections")
    configured = int(text) if text.isdecimal() else 0
    needed = required_connections(manifests, model)
    memory = parse_quantity(read_value(cluster, "spec", "resources", "limits", "memory")) or 0
    affordable = int(memory / 2 / MEMORY_PER_CONNECTION_BYTES)
    if not needed <= configured <= affordable:
        remedy = f"set {needed} to {affordable} (5 MB each, in half of the memory), or allow fewer replicas"
        yield f"max_connections is {text!r}; all pods may open {needed}", remedy


MEMORY_PER_CONNECTION_BYTES = 5_000_000
"""Measured; docs/results/containers.md."""


def _lines(spec: Mapping[str, Any], *path: str) -> list[str]:
    return [line for line in read_text(spec, *path).splitlines() if line.strip()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
