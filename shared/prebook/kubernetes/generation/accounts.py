"""Accounts of broker and database: Secrets that are drawn in the cluster, or that come from files."""

from collections.abc import Iterable, Mapping
from typing import Any

from prebook.flows import OPERATIONS, PROCESSES
from prebook.kubernetes import names
from prebook.kubernetes.documents import Document
from prebook.kubernetes.names import SETUP, account_secret, call_secret, resource_name
from prebook.messaging.addresses import OBSERVER, VHOST, broker_user
from prebook.topology.access import broker_accounts
from prebook.topology.values import Topology

GENERATOR = {
    "apiVersion": "generators.external-secrets.io/v1alpha1",
    "kind": "Password",
    "metadata": {"name": names.PASSWORD_GENERATOR},
    # Without `symbols`, a quarter of the password would be symbols, some of which break a URL.
    "spec": {"length": 32, "digits": 8, "symbols": 0, "noUpper": False, "allowRepeat": True},
}
DRAWN_PASSWORD = "{{ .password }}"  # noqa: S105 - a placeholder
SETUP_FILES = ("setup/database_url", "setup/rabbitmq_password", "setup/role_passwords")
ACCOUNT_FILES = ("database_url", "amqp_url")
CALL_FILES = ("signing_secrets", "caller_secrets")
FURTHER_CALL_FILES = {"booking": ("rider_callback_secrets",), OPERATIONS: ("operator_tokens",)}
"""Secrets that only one service has."""


def drawn_accounts(topology: Topology) -> list[Document]:
    """Return one ExternalSecret for each account, whose password the cluster draws once, and their generator."""
    return [GENERATOR, *(_drawn(account, _account_data(account)) for account in broker_accounts(topology))]


def drawn_observer() -> Document:
    """Return the account by which the autoscaler reads the management API."""
    host = f"http://{names.BROKER}.{names.NAMESPACE}.svc:{names.MANAGEMENT_PORT}/{VHOST}"
    data = {"username": broker_user(OBSERVER), "password": DRAWN_PASSWORD, "host": host}
    return _drawn(OBSERVER, data)


def secrets_from_files(services_only: bool) -> Document:
    """Return the Component that makes Secrets of the files of `prebook secrets`.

    ``services_only``: only the secrets of the calls between services; the accounts are drawn in the cluster.
    """
    generators = [_from_files(call_secret(service), _call_files(service)) for service in PROCESSES]
    if not services_only:
        generators += [
            *(_from_files(account_secret(s), [f"{s}/{file}" for file in ACCOUNT_FILES]) for s in PROCESSES),
            _from_files(account_secret(SETUP), SETUP_FILES),
        ]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "generatorOptions": {"disableNameSuffixHash": True},
        "secretGenerator": generators,
    }


def drawn_setup_environment(role_connections: int) -> list[Mapping[str, Any]]:
    """Return the variables of a setup that leaves the broker alone; passwords come from the accounts' Secrets.

    A variable may use those before it, as ``$(NAME)``.
    """
    password = {"secretKeyRef": {"name": names.DATABASE_OWNER_SECRET, "key": "password"}}
    owner = f"postgresql+asyncpg://{names.SETUP_ROLE}:$(DATABASE_PASSWORD)"
    passwords = ",".join(f'"{service}":"$({_password_variable(service)})"' for service in PROCESSES)
    return [
        {"name": "DATABASE_PASSWORD", "valueFrom": password},
        {
            "name": "PREBOOK_DATABASE_URL",
            "value": f"{owner}@{names.DATABASE_SERVICE}:{names.DATABASE_PORT}/{names.DATABASE_NAME}",
        },
        *(
            {
                "name": _password_variable(service),
                "valueFrom": {"secretKeyRef": {"name": account_secret(service), "key": "password"}},
            }
            for service in PROCESSES
        ),
        {"name": "PREBOOK_ROLE_PASSWORDS", "value": f"{{{passwords}}}"},
        {"name": "PREBOOK_ROLE_CONNECTIONS", "value": str(role_connections)},
    ]


def file_setup_environment(management_url: str, management_user: str, role_connections: int) -> list[Mapping[str, Any]]:
    """Return the variables of a setup of a broker and a database that somebody else runs."""
    return [
        {"name": "PREBOOK_DATABASE_URL_FILE", "value": f"{names.SECRETS_FOLDER}/database_url"},
        {"name": "PREBOOK_MANAGEMENT_URL", "value": management_url},
        {"name": "PREBOOK_MANAGEMENT_USER", "value": management_user},
        {"name": "PREBOOK_MANAGEMENT_PASSWORD_FILE", "value": f"{names.SECRETS_FOLDER}/rabbitmq_password"},
        {"name": "PREBOOK_ROLE_PASSWORDS_FILE", "value": f"{names.SECRETS_FOLDER}/role_passwords"},
        {"name": "PREBOOK_ROLE_CONNECTIONS", "value": str(role_connections)},
    ]


def further_secret_files(service: str) -> tuple[str, ...]:
    """Return the names of the files that only this service reads."""
    return FURTHER_CALL_FILES.get(service, ())


def _password_variable(service: str) -> str:
    return f"PASSWORD_OF_{service.upper()}"


def _account_data(account: str) -> Mapping[str, str]:
    user = broker_user(account)
    credentials = f"{user}:{DRAWN_PASSWORD}"
    data = {
        "username": user,
        "password": DRAWN_PASSWORD,
        "amqp_url": f"amqp://{credentials}@{names.BROKER}:{names.AMQP_PORT}/{VHOST}",
    }
    if account in PROCESSES:
        address = f"{names.DATABASE_SERVICE}:{names.DATABASE_PORT}/{names.DATABASE_NAME}"
        data["database_url"] = f"postgresql+asyncpg://{credentials}@{address}"
    return data


def _drawn(account: str, data: Mapping[str, str]) -> Document:
    generator = {
        "apiVersion": GENERATOR["apiVersion"],
        "kind": GENERATOR["kind"],
        "name": names.PASSWORD_GENERATOR,
    }
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": resource_name(account)},
        "spec": {
            "refreshPolicy": "CreatedOnce",
            "target": {
                "name": account_secret(account),
                "creationPolicy": "Orphan",
                "deletionPolicy": "Retain",
                "template": {"metadata": {"labels": {names.OPERATOR_LABEL: "true"}}, "data": dict(data)},
            },
            "dataFrom": [{"sourceRef": {"generatorRef": generator}}],
        },
    }


def _call_files(service: str) -> list[str]:
    return [f"{service}/{file}" for file in (*CALL_FILES, *further_secret_files(service))]


def _from_files(name: str, files: Iterable[str]) -> Document:
    return {"name": name, "files": list(files)}
