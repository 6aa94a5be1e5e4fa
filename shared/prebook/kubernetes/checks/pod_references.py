"""Reference step, pods: volumes, Secrets and their keys, ConfigMaps, variables, mounted files and ports exist."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import (
    Manifests,
    Workload,
    read_items,
    read_mapping,
    read_text,
    read_texts,
    read_value,
)

VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
FILE_SUFFIX = "_FILE"
FILE_VARIABLES = frozenset({"PREBOOK_COUPLINGS"})
"""Variables that name a file without the suffix."""
Secrets = Mapping[str, frozenset[str]]


def check_pod_references(manifests: Manifests, secrets: Secrets) -> Iterator[Finding]:
    """Yield what pods refer to and what does not exist. ``secrets``: keys by Secret."""
    maps = {name: frozenset(read_mapping(d, "data")) for name, d in manifests.named("ConfigMap").items()}
    for workload in manifests.workloads:
        yield from _PodCheck(workload, manifests, secrets, maps).findings()


class _PodCheck:
    """References of one workload."""

    def __init__(
        self, workload: Workload, manifests: Manifests, secrets: Secrets, maps: Mapping[str, frozenset[str]]
    ) -> None:
        self._workload = workload
        self._manifests = manifests
        self._secrets = secrets
        self._maps = maps

    def findings(self) -> Iterator[Finding]:
        """Yield every reference that leads nowhere."""
        account = read_text(self._workload.pod, "serviceAccountName")
        if account not in self._manifests.named("ServiceAccount"):
            yield self._finding(f"there is no ServiceAccount {account!r}", "name the one of the workload")
        volumes = {read_text(volume, "name"): volume for volume in read_items(self._workload.pod, "volumes")}
        for volume in volumes.values():
            yield from self._volume_findings(volume)
        used: set[str] = set()
        for container in self._workload.containers:
            mounted = [read_text(mount, "name") for mount in read_items(container, "volumeMounts")]
            used |= {*mounted}
            for name in mounted:
                if name not in volumes:
                    yield self._finding(f"there is no volume {name!r} to mount", "add it to the volumes, or correct it")
            yield from self._environment_findings(container)
            yield from self._file_findings(container, volumes)
            yield from self._probe_findings(container)
        for name in sorted(volumes.keys() - used):
            yield self._finding(f"no container mounts the volume {name!r}", "mount it or remove it")

    def _volume_findings(self, volume: Mapping[str, Any]) -> Iterator[Finding]:
        sources = [volume, *read_items(volume, "projected", "sources")]
        for source in sources:
            for kind, name_field in (("secret", "secretName"), ("secret", "name"), ("configMap", "name")):
                entry = read_mapping(source, kind)
                if name := read_text(entry, name_field):
                    yield from self._key_findings(kind, name, [read_text(i, "key") for i in read_items(entry, "items")])
        claim = read_text(volume, "persistentVolumeClaim", "claimName")
        if claim and claim not in self._manifests.named("PersistentVolumeClaim"):
            yield self._finding(f"there is no PersistentVolumeClaim {claim!r}", "add it, or correct the name")

    def _key_findings(self, kind: str, name: str, keys: list[str]) -> Iterator[Finding]:
        known = self._secrets if kind == "secret" else self._maps
        if name not in known:
            yield self._finding(f"there is no {kind} {name!r}", "correct the name, or add what creates it")
        for key in keys:
            if key not in known.get(name, {key}):
                yield self._finding(
                    f"the {kind} {name!r} has no key {key!r}", f"use one of {', '.join(sorted(known[name]))}"
                )

    def _environment_findings(self, container: Mapping[str, Any]) -> Iterator[Finding]:
        defined: set[str] = set()
        for source in read_items(container, "envFrom"):
            for kind, field in (("secret", "secretRef"), ("configMap", "configMapRef")):
                if name := read_text(source, field, "name"):
                    yield from self._key_findings(kind, name, [])
                    defined |= (self._secrets if kind == "secret" else self._maps).get(name, frozenset())
        for variable in read_items(container, "env"):
            name = read_text(variable, "name")
            for reference in VARIABLE.findall(read_text(variable, "value")):
                if reference not in defined:
                    problem = (
                        f"{name} contains $({reference}), which no variable before it defines, so it stays as it is"
                    )
                    yield self._finding(problem, "correct the name, or define it earlier in the list")
            for kind, field in (("secret", "secretKeyRef"), ("configMap", "configMapKeyRef")):
                if reference := read_mapping(variable, "valueFrom", field):
                    yield from self._key_findings(kind, read_text(reference, "name"), [read_text(reference, "key")])
            if name in {read_text(v, "name") for v in read_items(container, "env") if v is not variable}:
                yield self._finding(f"{name} is defined twice", "remove one of them")
            defined.add(name)

    def _file_findings(self, container: Mapping[str, Any], volumes: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield variables that name files which no volume has."""
        files = {
            str(PurePosixPath(read_text(mount, "mountPath")) / file)
            for mount in read_items(container, "volumeMounts")
            for file in self._volume_files(volumes.get(read_text(mount, "name"), {}))
        }
        for name, value in self._variables(container):
            if (name.endswith(FILE_SUFFIX) or name in FILE_VARIABLES) and value not in files:
                yield self._finding(
                    f"{name} names {value}, which no mounted volume has", "correct the path or the mount"
                )

    def _variables(self, container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        maps = self._manifests.named("ConfigMap")
        for source in read_items(container, "envFrom"):
            data = read_mapping(maps.get(read_text(source, "configMapRef", "name"), {}), "data")
            yield from ((name, str(value)) for name, value in data.items())
        for variable in read_items(container, "env"):
            yield read_text(variable, "name"), read_text(variable, "value")

    def _volume_files(self, volume: Mapping[str, Any]) -> Iterator[str]:
        for source in (volume, *read_items(volume, "projected", "sources")):
            secret = read_mapping(source, "secret")
            config_map = read_mapping(source, "configMap")
            yield from self._secrets.get(read_text(secret, "secretName") or read_text(secret, "name"), ())
            yield from self._maps.get(read_text(config_map, "name"), ())

    def _probe_findings(self, container: Mapping[str, Any]) -> Iterator[Finding]:
        ports = {read_text(port, "name") for port in read_items(container, "ports")}
        numbers = {read_value(port, "containerPort") for port in read_items(container, "ports")}
        for probe in PROBES:
            if probe in container:
                port = read_value(container, probe, "httpGet", "port")
                if port not in (numbers if isinstance(port, int) else ports):
                    yield self._finding(f"{probe} asks port {port!r}, which the container does not have", "name a port")
                elif isinstance(port, int):
                    yield self._finding(
                        f"{probe} asks port {port} by its number", "use the port's name, as all others do"
                    )
        if read_texts(container, "command")[:2] == ["python", "-m"] and not ports:
            yield self._finding("the service's container has no port", "declare http and internal")

    def _finding(self, problem: str, remedy: str) -> Finding:
        return Finding(CheckStep.REFERENCE, self._workload.identity, problem, remedy)
