"""Size of the suite in a cluster, and the parts of the cluster that it does not bring along: ``cluster.toml``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from prebook.text_file import read_text

Count = Annotated[int, msgspec.Meta(ge=1, le=100)]
Cidr = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f.:]+/[0-9]{1,3}$")]
SURGE = 1
"""Further pods of a service during a roll-out."""


class ServiceSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Replicas of a service, and the processor time that it asks for."""

    min_replicas: Count
    max_replicas: Count
    cpu: Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*m$")]

    def __post_init__(self) -> None:
        """Raise ValueError if the maximum is below the minimum."""
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is below min_replicas {self.min_replicas}")


class PlatformNamespaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Namespaces of what the platform runs."""

    gateway: str
    monitoring: str
    keda: str
    rabbitmq_operators: str
    database_operator: str


class ExternalServers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Broker and database outside of the cluster, for the overlay `plain`."""

    broker_cidr: Cidr
    database_cidr: Cidr
    management_url: Annotated[str, msgspec.Meta(pattern="^https?://[^/:]+:[0-9]+$")]
    management_user: str


class ClusterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contents of ``cluster.toml``."""

    services: Mapping[str, ServiceSize]
    namespaces: PlatformNamespaces
    external: ExternalServers
    provided_secrets: Mapping[str, Sequence[str]] = {}
    """Keys of each Secret that somebody else creates, by its name."""
    rider_callback_hosts: Sequence[str] = ()
    """Hosts of riders' callbacks; without one, booking reaches no address outside of the cluster."""

    def __post_init__(self) -> None:
        """Raise ValueError unless there is a size for every service, and for nothing else."""
        if self.services.keys() != set(PROCESSES):
            raise ValueError(f"[services] has {', '.join(self.services)}; it needs {', '.join(PROCESSES)}")


def read_cluster_settings(path: Path) -> ClusterSettings:
    """Read ``cluster.toml``. Raises UserError."""
    try:
        return msgspec.toml.decode(read_text(path), type=ClusterSettings)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise UserError(f"{path}: {error}", "correct the file; docs/kubernetes.md describes it") from error
