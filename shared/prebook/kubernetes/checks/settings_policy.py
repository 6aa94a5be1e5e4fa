"""Policy step, settings: every variable exists and has a valid value, and plan, names and ports are the model's."""

from collections.abc import Iterable, Iterator, Mapping

from prebook.flows import FLOWS, PROCESSES
from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import Manifests, Workload, read_items, read_mapping, read_text
from prebook.kubernetes.documents import HEADER
from prebook.kubernetes.generation.workloads import settings_lines
from prebook.kubernetes.names import COUPLINGS, COUPLINGS_FOLDER, SETTINGS
from prebook.kubernetes.suite_model import SuiteModel
from prebook.runtime import environment
from prebook.runtime.environment import BadSettings
from prebook.runtime.settings import ServiceSettings

PREFIX = "PREBOOK_"
FILE_SUFFIX = "_FILE"
SETUP_VARIABLES: Mapping[str, str] = {
    "PREBOOK_HOME": "/tmp/prebook",  # noqa: S108 - a volume of the pod
    "PREBOOK_COUPLINGS": f"{COUPLINGS_FOLDER}/couplings.toml",
}
"""Variables of setup beside its credentials, which the model compares."""
SAMPLE_SECRETS: Mapping[str, str] = {
    "PREBOOK_DATABASE_URL": "postgresql+asyncpg://role:password@host:5432/database",
    "PREBOOK_AMQP_URL": "amqp://user:password@host:5672/vhost",
    "PREBOOK_SIGNING_SECRETS": "whsec_sample",
    "PREBOOK_CALLER_SECRETS": "booking=whsec_sample",
    "PREBOOK_RIDER_CALLBACK_SECRETS": "whsec_sample",
    "PREBOOK_OPERATOR_TOKENS": "console=a-sample-of-a-token",
}
"""Values that stand for those of the files, which nobody reads here."""
SHARED_VALUES: Mapping[str, str] = {"PREBOOK_ALLOW_PLAN_OVERRIDE": "false", "PREBOOK_PEER_CONNECTION_SHARE": "1"}
"""Settings that a deployment must not change: riders bring no plan of their own, and arrive from one gateway."""
REMEDY = "docs/reference/settings.md lists the variables and their values"


def check_settings_policy(manifests: Manifests, model: SuiteModel) -> Iterator[Finding]:
    """Yield wrong variables of every service."""
    maps = {name: read_mapping(document, "data") for name, document in manifests.named("ConfigMap").items()}
    for workload in manifests.workloads:
        if workload.name in PROCESSES:
            for problem in _service_problems(workload, maps):
                yield Finding(CheckStep.POLICY, workload.identity, problem, REMEDY)
        else:
            variables = [v for container in workload.containers for v in read_items(container, "env")]
            if {n: v for n, v in _plain_values(variables) if n in SETUP_VARIABLES} != SETUP_VARIABLES:
                problem = f"{' or '.join(SETUP_VARIABLES)} is wrong"
                yield Finding(CheckStep.POLICY, workload.identity, problem, f"set {dict(SETUP_VARIABLES)}")
    yield from _shared_findings(maps, model)


def _plain_values(variables: Iterable[Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    return ((read_text(variable, "name"), read_text(variable, "value")) for variable in variables)


def _shared_findings(maps: Mapping[str, Mapping[str, object]], model: SuiteModel) -> Iterator[Finding]:
    shared = maps.get(SETTINGS, {})
    expected = {**dict(line.split("=", 1) for line in settings_lines(model).splitlines()), **SHARED_VALUES}
    for name, value in expected.items():
        if shared.get(name) != value:
            problem = f"{name} is {shared.get(name)}; should be {value}"
            yield Finding(CheckStep.MODEL, f"ConfigMap/{SETTINGS}", problem, "run `prebook kubernetes generate`")
    if maps.get(COUPLINGS, {}) != {"couplings.toml": HEADER + model.couplings}:
        problem = "it differs from the plan and the policies that the topology follows from"
        yield Finding(CheckStep.MODEL, f"ConfigMap/{COUPLINGS}", problem, "run `prebook kubernetes generate`")


def _service_problems(workload: Workload, maps: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    variables: dict[str, str] = {}
    for container in workload.containers:
        for source in read_items(container, "envFrom"):
            variables |= {k: str(v) for k, v in maps.get(read_text(source, "configMapRef", "name"), {}).items()}
            if source.keys() != {"configMapRef"}:
                yield f"envFrom has {', '.join(sorted(source))}"
        variables |= {read_text(v, "name"): read_text(v, "value") for v in read_items(container, "env")}
    known = {f"{PREFIX}{field.upper()}" for field in ServiceSettings.__struct_fields__}
    known |= {f"{PREFIX}COUPLING_{flow.upper()}" for flow in FLOWS}
    for name in sorted({name.removesuffix(FILE_SUFFIX) for name in variables} - known):
        yield f"{name} is no setting of a service"
    values = {name: value for name, value in variables.items() if not name.endswith(FILE_SUFFIX)}
    for name in variables.keys() - values.keys():
        plain = name.removesuffix(FILE_SUFFIX)
        values |= {plain: SAMPLE_SECRETS[plain]} if plain in SAMPLE_SECRETS else {}
    try:
        environment.read(ServiceSettings, values)
    except BadSettings as error:
        yield from str(error).splitlines()
