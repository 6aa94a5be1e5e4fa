"""Names, labels, ports and users of the suite in a cluster."""

from prebook.devstack.container_users import SERVICE_UIDS, SETUP_UID
from prebook.flows import OPERATIONS, PROCESSES

NAMESPACE = "prebook"
NAME_LABEL = "app.kubernetes.io/name"
PART_LABEL = "app.kubernetes.io/part-of"
PART_OF = "prebook"
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
OPERATOR_LABEL = "rabbitmq.com/topology-operator"
"""Label of a Secret that the Messaging Topology Operator may read, from its version 1.20 on."""

SETUP = "setup"
BROKER = "prebook-broker"
"""RabbitmqCluster, and the Service that its operator creates."""
DATABASE = "prebook-db"
"""CloudNativePG Cluster."""
DATABASE_SERVICE = f"{DATABASE}-rw"
"""Service of the primary, which CloudNativePG creates."""
DATABASE_OWNER_SECRET = f"{DATABASE}-app"
"""Secret with the password of the database's owner, which CloudNativePG creates."""
DATABASE_NAME = "prebook"
SETUP_ROLE = "prebook_setup"
PASSWORD_GENERATOR = "prebook-password"  # noqa: S105 - a name
SETTINGS = "prebook-settings"
COUPLINGS = "prebook-couplings"
COUPLINGS_FOLDER = "/etc/prebook"
SECRETS_FOLDER = "/run/prebook"

PUBLIC_PORT = 8000
INTERNAL_PORT = 8001
AMQP_PORT = 5672
MANAGEMENT_PORT = 15672
BROKER_METRICS_PORT = 15692
DATABASE_PORT = 5432
DATABASE_METRICS_PORT = 9187
DATABASE_STATUS_PORT = 8000
DNS_PORT = 53
HTTPS_PORT = 443

PUBLIC_SERVICES = ("booking", OPERATIONS)
"""Services whose public listener serves riders or operators."""
UIDS = {**SERVICE_UIDS, SETUP: SETUP_UID}
WORKLOADS = (*PROCESSES, SETUP)


def resource_name(name: str) -> str:
    """Return a name of the broker as the name of a resource: lower case, with hyphens."""
    return name.lower().replace("_", "-")


def account_secret(account: str) -> str:
    """Return the name of the Secret with the password of a broker account."""
    return f"prebook-{resource_name(account)}"


def call_secret(service: str) -> str:
    """Return the name of the Secret by which a service signs its calls and verifies those of others."""
    return f"prebook-{service}-calls"
