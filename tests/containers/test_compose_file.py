"""Guarantees of docker-compose.yml, checked without an engine."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import yaml

from prebook.cli.secrets import generate_secrets
from prebook.devstack.container_users import CONSOLE_UID, SECRETS_GID
from prebook.devstack.containers import ERLANG_ARGS, POSTGRES_IMAGE, RABBITMQ_IMAGE
from prebook.flows import CONSOLE, FLOWS, PROCESSES
from prebook.runtime.settings import ServiceSettings
from tests.containers.compose_project import COMPOSE_FILE, ROOT

COMPOSED = yaml.safe_load(COMPOSE_FILE.read_text())
CONTAINERS: Mapping[str, Mapping[str, Any]] = COMPOSED["services"]
LONG_RUNNING = {*PROCESSES, "postgres", "rabbitmq", "lab"}
CONSOLE_CONTAINERS = {"lab", "campaign"}
"""Containers with the console's user, secrets and addresses."""
SERVERS = {"postgres": ("database", POSTGRES_IMAGE), "rabbitmq": ("broker", RABBITMQ_IMAGE)}
"""Container of a server -> its stage of the Dockerfile, and the image that the stage is made from."""
HBA_FILE = "deploy/container/pg_hba.conf"
PREBOOK_CONTAINERS = CONTAINERS.keys() - {"postgres", "rabbitmq"}
SECRETS = generate_secrets("postgres:5432", "rabbitmq:5672")
MOUNT_PATH = "/run/prebook/"
NOT_FOR_CONTAINERS = {"PREBOOK_COUPLINGS", "PREBOOK_CLOCK_SKEW_S", "PREBOOK_CRASH_DIR", "PREBOOK_CRASH_MESSAGE_ID"}
"""Settings that are fixed in the image, or that only tests use."""

every_container = pytest.mark.parametrize("name", CONTAINERS)


def test_the_suite_has_at_most_twelve_containers_and_starts_all_of_them() -> None:
    assert len(CONTAINERS) <= 12
    assert [name for name, container in CONTAINERS.items() if "profiles" in container] == []
    for name in (*PROCESSES, "lab"):
        assert CONTAINERS[name]["depends_on"]["setup"]["condition"] == "service_completed_successfully"
    assert CONTAINERS.keys() >= LONG_RUNNING
    assert CONTAINERS["campaign"]["depends_on"].keys() == {*PROCESSES, "lab"}


@every_container
def test_ports_are_published_on_the_loopback_interface_only(name: str) -> None:
    for port in CONTAINERS[name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@every_container
def test_no_internal_listener_is_published(name: str) -> None:
    internal_port = COMPOSED["x-environment"]["PREBOOK_INTERNAL_PORT"]
    published = [port for port in CONTAINERS[name].get("ports", []) if name in PROCESSES]
    assert [port for port in published if not port.endswith(f":{COMPOSED['x-environment']['PREBOOK_HTTP_PORT']}")] == []
    assert not [port for port in published if internal_port in port.split(":")]
    assert name in {"booking", "operations"} or not published


@every_container
def test_every_container_is_confined(name: str) -> None:
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["pids_limit"] <= 200
    assert re.fullmatch(r"\d+m", container["mem_limit"])
    assert "privileged" not in container
    assert not [volume for volume in container["volumes"] if volume.startswith(("/", "."))], (
        "no folder of the host is mounted"
    )


@pytest.mark.parametrize("name", sorted(PREBOOK_CONTAINERS - {"secrets"}))
def test_every_prebook_container_runs_under_its_own_user_without_capabilities(name: str) -> None:
    user, group = CONTAINERS[name]["user"].split(":")
    same = {other for other in PREBOOK_CONTAINERS if CONTAINERS[other]["user"] == f"{user}:{group}"}
    assert same == (CONSOLE_CONTAINERS if name in CONSOLE_CONTAINERS else {name})
    assert int(user) > 10000
    assert int(group) == SECRETS_GID
    assert "cap_add" not in CONTAINERS[name]


@pytest.mark.parametrize("name", sorted(LONG_RUNNING))
def test_long_running_containers_are_restarted_and_have_a_health_check(name: str) -> None:
    assert CONTAINERS[name]["restart"] == "unless-stopped"
    check = CONTAINERS[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check["start_period"] == "120s", "a failed check ends `docker compose up` only after this time"


def test_only_containers_with_published_ports_are_on_the_edge_network() -> None:
    assert COMPOSED["networks"]["inside"] == {"internal": True}
    published = {name for name, container in CONTAINERS.items() if "ports" in container}
    assert {name for name, container in CONTAINERS.items() if "edge" in container.get("networks", [])} == published


def test_only_the_campaign_is_attached() -> None:
    assert [name for name, container in CONTAINERS.items() if container["attach"]] == ["campaign"]


@every_container
def test_the_file_contains_no_secret(name: str) -> None:
    environment = CONTAINERS[name].get("environment", {})
    secret_name = re.compile(r"PASS|SECRET|TOKEN(?!S)|DATABASE_URL|AMQP_URL")
    assert [name for name in environment if secret_name.search(name) and not name.endswith("_FILE")] == []


@pytest.mark.parametrize("name", sorted(PREBOOK_CONTAINERS - {"secrets"}))
def test_every_container_may_read_the_files_of_its_settings(name: str) -> None:
    environment = CONTAINERS[name]["environment"]
    user = int(CONTAINERS[name]["user"].split(":")[0])
    files = [path.removeprefix(MOUNT_PATH) for variable, path in environment.items() if variable.endswith("_FILE")]
    assert files
    assert {SECRETS[file][1] for file in files} == {user}


def test_each_supervisor_knows_the_digest_of_its_own_token_and_the_console_holds_all_tokens() -> None:
    for service in PROCESSES:
        environment = CONTAINERS[service]["environment"]
        control = {name: path for name, path in environment.items() if "CONTROL_TOKEN" in name}
        assert control == {"PREBOOK_CONTROL_TOKEN_SHA256_FILE": f"{MOUNT_PATH}{service}/control_token_sha256"}
    for container in CONSOLE_CONTAINERS:
        held = {path for name, path in CONTAINERS[container]["environment"].items() if "CONTROL_TOKEN" in name}
        assert held == {f"{MOUNT_PATH}{CONSOLE}/{owner}_control_token" for owner in (*PROCESSES, CONSOLE)}
        assert CONTAINERS[container]["user"].split(":")[0] == str(CONSOLE_UID)


def test_only_the_console_and_the_servers_share_the_folder_of_the_control_loops() -> None:
    sharing = {name for name, container in CONTAINERS.items() if "control:/run/control" in container["volumes"]}
    assert sharing == {*CONSOLE_CONTAINERS, *SERVERS}
    for name, (server, _) in SERVERS.items():
        assert CONTAINERS[name]["entrypoint"][:2] == ["supervise-server", server]


def test_every_setting_can_be_passed_to_a_container() -> None:
    fields = msgspec.structs.fields(ServiceSettings)
    settable = {f"PREBOOK_{field.name.upper()}" for field in fields} | {
        f"PREBOOK_COUPLING_{flow.upper()}" for flow in FLOWS
    }
    assert settable > NOT_FOR_CONTAINERS
    pricing_settings = {"PREBOOK_CAMPAIGN_QUOTA"}
    operations_settings = {"PREBOOK_OPERATOR_TOKENS", "PREBOOK_OPERATOR_HOSTS"}
    assert settable - NOT_FOR_CONTAINERS - pricing_settings - operations_settings <= _settings_of("booking")
    assert pricing_settings <= _settings_of("pricing")
    assert operations_settings <= _settings_of("operations")


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_the_image_of_the_suite_with_containers_and_a_control_loop(name: str) -> None:
    stage, image = SERVERS[name]
    assert CONTAINERS[name]["build"]["target"] == stage
    added = re.search(
        rf"^FROM {image} AS {stage}\n((?:COPY .+\n)+)\n", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE
    )
    assert added
    copied = [line.split()[1] for line in added[1].splitlines()]
    assert copied == ["deploy/container/supervise-server", *([HBA_FILE] if stage == "database" else [])]


def test_the_broker_gets_the_arguments_of_the_suite_with_containers_and_the_watermark_that_is_restored() -> None:
    environment = CONTAINERS["rabbitmq"]["environment"]
    watermark = environment["MEMORY_WATERMARK"]
    own = f"-rabbit vm_memory_high_watermark {{absolute,{watermark}}} "
    assert environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"].replace(own, "") == ERLANG_ARGS
    assert int(watermark) < 0.8 * int(CONTAINERS["rabbitmq"]["mem_limit"].removesuffix("m")) * 2**20


def test_the_build_context_contains_every_copied_file() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    included = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    assert {source for line in copied for source in line.split()} <= {*included, *_children_of(included)}


@pytest.mark.parametrize("path", ["deploy/Dockerfile", "Makefile"])
def test_pip_installs_nothing_without_a_hash(path: str) -> None:
    """A build in isolation would fetch the build backend, which makes the image's code, without one."""
    text = (ROOT / path).read_text().replace("\\\n", " ")
    commands = re.findall(r"(?:pip|\$\(PIP\))(?: --python \S+)? (?:install|wheel) .*", text)
    assert len(commands) >= 3
    safe = ("--require-hashes", "--no-deps --no-index", "--no-deps --no-build-isolation")
    assert [command for command in commands if not any(option in command for option in safe)] == []


def test_the_build_requirements_are_locked_like_all_others() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    build = _locked_versions("requirements-build.txt")
    assert {re.split(r"[<>=~ ]", each)[0] for each in required} <= build.keys()
    others = _locked_versions("requirements-dev.txt")
    assert {name: version for name, version in build.items() if others.get(name, version) != version} == {}


def _locked_versions(lock_file: str) -> dict[str, str]:
    """Return the version of each package of a lock file, all of which have hashes."""
    entry = re.compile(r"^([\w.-]+)==(\S+).*((?:\n    --hash=sha256:\w{64}.*)*)", re.MULTILINE)
    entries = entry.findall((ROOT / lock_file).read_text())
    assert entries
    assert [name for name, _, hashes in entries if not hashes] == []
    return {name: version for name, version, _ in entries}


def _settings_of(container: str) -> set[str]:
    """Return the names of the settings of a container, given directly or by a file."""
    return {name.removesuffix("_FILE") for name in CONTAINERS[container]["environment"]}


def _children_of(folders: list[str]) -> set[str]:
    return {str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).glob("*")}
