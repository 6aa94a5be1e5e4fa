"""Workloads from templates: the six services, which differ in name, user, size and secrets, and the setup Job."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from string import Template
from typing import Any

from prebook.flows import SERVICES
from prebook.kubernetes import names
from prebook.kubernetes.documents import Document, load_documents
from prebook.kubernetes.generation.accounts import ACCOUNT_FILES, CALL_FILES, further_secret_files
from prebook.kubernetes.names import SETUP, UIDS
from prebook.kubernetes.suite_model import SuiteModel


def service_documents(template: str, service: str, model: SuiteModel) -> list[Document]:
    """Return the documents of a service. One replica has no disruption budget, which would block every drain."""
    size = model.cluster.services[service]
    text = Template(template).substitute(
        service=service, uid=UIDS[service], cpu=size.cpu, replicas=size.min_replicas, calls=names.call_secret(service)
    )
    documents = load_documents(text)
    for document in documents:
        if document["kind"] == "Deployment":
            _container(document)["env"] = secret_file_variables(service)
        if document["kind"] == "Service" and service not in names.PUBLIC_SERVICES:
            document["spec"]["ports"] = [port for port in document["spec"]["ports"] if port["name"] == "internal"]
    return [*(d for d in documents if d["kind"] != "PodDisruptionBudget" or size.min_replicas > 1)]


def secret_file_variables(service: str) -> list[Mapping[str, str]]:
    """Return the variables that name the files with the secrets of a service."""
    files = (*ACCOUNT_FILES, *CALL_FILES, *further_secret_files(service))
    return [{"name": f"PREBOOK_{f.upper()}_FILE", "value": f"{names.SECRETS_FOLDER}/{f}"} for f in files]


def setup_documents(
    template: str, arguments: Sequence[str], environment: Sequence[Mapping[str, Any]], *, secret: str = ""
) -> list[Document]:
    """Return the setup Job. It cannot change, so its name has the version. ``secret``: Secret of its files, if any."""
    text = Template(template).substitute(version=version("prebook").replace(".", "-"), uid=UIDS[SETUP])
    documents = load_documents(text)
    job = next(document for document in documents if document["kind"] == "Job")
    container = _container(job)
    container["args"] = [SETUP, *arguments]
    container["env"] = [*environment, *container["env"]]
    if secret:
        container["volumeMounts"].append({"name": "secrets", "mountPath": names.SECRETS_FOLDER, "readOnly": True})
        job["spec"]["template"]["spec"]["volumes"].append(
            {"name": "secrets", "secret": {"secretName": secret, "defaultMode": 0o440}}
        )
    return [*documents]


def settings_lines(model: SuiteModel) -> str:
    """Return the settings that follow from names and ports, as lines of an environment file."""
    hosts = ",".join(model.cluster.rider_callback_hosts)
    values = {
        "PREBOOK_HTTP_HOST": "0.0.0.0",  # noqa: S104 - the network policies decide who reaches it
        "PREBOOK_HTTP_PORT": names.PUBLIC_PORT,
        "PREBOOK_INTERNAL_HOST": "0.0.0.0",  # noqa: S104
        "PREBOOK_INTERNAL_PORT": names.INTERNAL_PORT,
        "PREBOOK_COUPLINGS": f"{names.COUPLINGS_FOLDER}/couplings.toml",
        **{
            f"PREBOOK_INTERNAL_URL_{service.upper()}": f"http://{service}:{names.INTERNAL_PORT}" for service in SERVICES
        },
        **({"PREBOOK_RIDER_CALLBACK_HOSTS": hosts} if hosts else {}),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _container(document: Mapping[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = document["spec"]["template"]["spec"]["containers"][0]
    return container
