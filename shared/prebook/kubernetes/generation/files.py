"""Generated files of ``deploy/kubernetes``: their texts, their differences from the tree, and writing them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import replace_file
from prebook.flows import PROCESSES
from prebook.kubernetes.documents import HEADER, Document, dump_documents
from prebook.kubernetes.generation import accounts, network, scaling, topology, workloads
from prebook.kubernetes.names import SETUP, account_secret
from prebook.kubernetes.scaling import role_connections
from prebook.kubernetes.suite_model import AUTOSCALED, OPERATORS, PLAIN, SuiteModel
from prebook.text_file import read_text
from prebook.topology.access import OBSERVER_TOPOLOGY

SERVICE_TEMPLATE = "templates/service.yaml"
SETUP_TEMPLATE = "templates/setup.yaml"
GENERATED_FOLDERS = (
    "base/services",
    *(f"components/{component}" for component in ("accounts", "autoscaling", "network", "topology")),
)
"""Folders in which nothing is written by hand, so that a stray file is a difference."""


def generated_files(root: Path, model: SuiteModel) -> dict[str, str]:
    """Return the text of every generated file by its path below ``root``. Raises UserError."""
    service_template = _read_template(root / SERVICE_TEMPLATE)
    setup_template = _read_template(root / SETUP_TEMPLATE)
    external = model.cluster.external
    connections = role_connections(model)
    drawn = accounts.drawn_setup_environment(connections)
    from_files = accounts.file_setup_environment(external.management_url, external.management_user, connections)
    return {
        "base/couplings.toml": HEADER + model.couplings,
        "base/settings.env": HEADER + workloads.settings_lines(model),
        **{
            f"base/services/{service}.yaml": dump_documents(
                workloads.service_documents(service_template, service, model)
            )
            for service in PROCESSES
        },
        **_component(
            "accounts",
            {
                "accounts.yaml": accounts.drawn_accounts(model.topology),
                "setup.yaml": workloads.setup_documents(setup_template, ["--database-only"], drawn),
            },
        ),
        **_component("network", {"policies.yaml": network.network_policies(model, OPERATORS)}),
        **_component(
            "topology",
            {
                "vhost.yaml": [topology.vhost_resource()],
                "exchanges.yaml": topology.exchange_resources(model.topology),
                "queues.yaml": topology.queue_resources(model.topology),
                "bindings.yaml": topology.binding_resources(model.topology),
                "policies.yaml": topology.policy_resources(model.topology),
                "users.yaml": topology.user_resources(model.topology),
                "permissions.yaml": topology.permission_resources(model.topology),
            },
        ),
        **_autoscaling_files(model),
        "overlays/plain/network.yaml": dump_documents(network.network_policies(model, PLAIN)),
        "overlays/plain/setup.yaml": dump_documents(
            workloads.setup_documents(setup_template, [], from_files, secret=account_secret(SETUP))
        ),
        "overlays/plain/secrets/kustomization.yaml": dump_documents([accounts.secrets_from_files(services_only=False)]),
        "overlays/operators/secrets/kustomization.yaml": dump_documents(
            [accounts.secrets_from_files(services_only=True)]
        ),
    }


def tree_differences(root: Path, files: Mapping[str, str]) -> list[str]:
    """Return one line for each generated file that is missing, differs, or should not be there; sorted by path."""
    return sorted([*_changed_files(root, files), *_stray_files(root, files)])


def write_files(root: Path, files: Mapping[str, str]) -> list[str]:
    """Write the files that differ, delete those that should not be there, and return their paths. Raises UserError."""
    changed = [line.split(": ")[0] for line in tree_differences(root, files)]
    try:
        for path in changed:
            if path in files:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                replace_file(root / path, files[path])
            else:
                (root / path).unlink()
    except OSError as error:
        raise UserError(
            f"cannot write the manifests: {error}", "make the folder writable, then run it again"
        ) from error
    return changed


def _changed_files(root: Path, files: Mapping[str, str]) -> Iterator[str]:
    for path, text in files.items():
        try:
            if read_text(root / path) != text:
                yield f"{path}: differs from the model"
        except OSError:
            yield f"{path}: missing"


def _stray_files(root: Path, files: Mapping[str, str]) -> Iterator[str]:
    for folder in GENERATED_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_file() and name not in files:
                yield f"{name}: is not generated; every file of {folder} is"


def _component(name: str, documents: Mapping[str, Sequence[Document]]) -> dict[str, str]:
    """Return the files of a component, with its kustomization."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": list(documents),
    }
    return _component_files(name, kustomization, documents)


def _component_files(name: str, kustomization: Document, documents: Mapping[str, Sequence[Document]]) -> dict[str, str]:
    files = {"kustomization.yaml": [kustomization], **documents}
    return {f"components/{name}/{file}": dump_documents(content) for file, content in files.items()}


def _autoscaling_files(model: SuiteModel) -> dict[str, str]:
    documents: dict[str, Sequence[Document]] = {
        "scaled-objects.yaml": scaling.scaled_objects(model),
        "observer.yaml": [
            scaling.trigger_authentication(),
            accounts.drawn_observer(),
            *topology.user_resources(OBSERVER_TOPOLOGY),
            *topology.permission_resources(OBSERVER_TOPOLOGY),
        ],
        "policies.yaml": [network.broker_from_keda(model, AUTOSCALED)],
    }
    return _component_files("autoscaling", scaling.autoscaling_component(list(documents)), documents)


def _read_template(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise UserError(str(error), "name the folder with the manifests: --root deploy/kubernetes") from error
