"""What the compose file promises, read from the file: no engine is needed."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import yaml

from prebook.cli.secrets import GROUP_READABLE_MODE, SECRETS_GID, generate_secrets
from prebook.devstack.containers import POSTGRES_IMAGE, RABBITMQ_IMAGE
from prebook.flows import FLOWS, PROCESSES
from prebook.runtime.settings import ServiceSettings
from tests.containers.composing import FILE, ROOT

COMPOSED = yaml.safe_load(FILE.read_text())
CONTAINERS: Mapping[str, Mapping[str, Any]] = COMPOSED["services"]
LASTING = {*PROCESSES, "postgres", "rabbitmq"}
USUAL = {name for name, container in CONTAINERS.items() if "profiles" not in container}
"""What `docker compose up` starts when it is asked for nothing more."""
OURS = CONTAINERS.keys() - {"postgres", "rabbitmq"}
SECRETS = generate_secrets("postgres:5432", "rabbitmq:5672")
MOUNTED_AT = "/run/prebook/"
NOT_FOR_CONTAINERS = {"PREBOOK_COUPLINGS", "PREBOOK_CLOCK_SKEW_S"}
"""Fixed in the image; for tests."""

every_container = pytest.mark.parametrize("name", CONTAINERS)


def test_ten_containers_at_most() -> None:
    assert len(USUAL) <= 10
    assert CONTAINERS.keys() - USUAL == {"operations"}
    for name in PROCESSES:
        assert CONTAINERS[name]["depends_on"]["setup"]["condition"] == "service_completed_successfully"
    assert CONTAINERS.keys() >= LASTING


@every_container
def test_ports_are_published_on_the_loopback_interface_only(name: str) -> None:
    for port in CONTAINERS[name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@every_container
def test_every_container_is_confined(name: str) -> None:
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["pids_limit"] <= 200
    assert re.fullmatch(r"\d+m", container["mem_limit"])
    assert "privileged" not in container
    assert not [volume for volume in container["volumes"] if volume.startswith(("/", "."))], "no folder of the host"


@pytest.mark.parametrize("name", sorted(OURS - {"secrets"}))
def test_ours_run_as_users_of_their_own_without_any_capability(name: str) -> None:
    user, group = CONTAINERS[name]["user"].split(":")
    assert [other for other in OURS if CONTAINERS[other]["user"] == f"{user}:{group}"] == [name]
    assert int(user) > 10000
    assert int(group) == SECRETS_GID
    assert "cap_add" not in CONTAINERS[name]


@pytest.mark.parametrize("name", sorted(LASTING))
def test_what_lasts_comes_back_and_says_whether_it_is_ready(name: str) -> None:
    assert CONTAINERS[name]["restart"] == "unless-stopped"
    assert CONTAINERS[name]["healthcheck"]["test"][0] == "CMD"


def test_only_what_is_published_is_on_the_edge() -> None:
    assert COMPOSED["networks"]["inside"] == {"internal": True}
    published = {name for name, container in CONTAINERS.items() if "ports" in container}
    assert {name for name, container in CONTAINERS.items() if "edge" in container.get("networks", [])} == published


def test_only_the_campaign_is_attached() -> None:
    assert [name for name, container in CONTAINERS.items() if container["attach"]] == ["campaign"]


@every_container
def test_no_secret_stands_in_the_file(name: str) -> None:
    environment = CONTAINERS[name].get("environment", {})
    telling = re.compile(r"PASS|SECRET|TOKEN(?!S)|DATABASE_URL|AMQP_URL")
    assert [name for name in environment if telling.search(name) and not name.endswith("_FILE")] == []


@pytest.mark.parametrize("name", sorted(OURS - {"secrets"}))
def test_each_is_pointed_to_files_that_it_may_read(name: str) -> None:
    environment, user = CONTAINERS[name]["environment"], int(CONTAINERS[name]["user"].split(":")[0])
    files = [path.removeprefix(MOUNTED_AT) for variable, path in environment.items() if variable.endswith("_FILE")]
    assert files
    for _, owner, mode in (SECRETS[file] for file in files):
        assert owner == user or mode == GROUP_READABLE_MODE


def test_what_can_be_set_reaches_the_containers() -> None:
    fields = msgspec.structs.fields(ServiceSettings)
    settable = {f"PREBOOK_{field.name.upper()}" for field in fields} | {
        f"PREBOOK_COUPLING_{flow.upper()}" for flow in FLOWS
    }
    assert settable > NOT_FOR_CONTAINERS
    priced = {"PREBOOK_CAMPAIGN_QUOTA"}
    assert settable - NOT_FOR_CONTAINERS - priced <= _settings_of("booking")
    assert priced <= _settings_of("pricing")


def test_the_images_are_those_that_the_local_suite_takes() -> None:
    assert CONTAINERS["postgres"]["image"] == POSTGRES_IMAGE
    assert CONTAINERS["rabbitmq"]["image"] == RABBITMQ_IMAGE


def test_the_image_gets_what_the_wheel_is_built_from_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    assert {source for line in copied for source in line.split()} <= {*let_in, *_below(let_in)}


def _settings_of(container: str) -> set[str]:
    """Names of the settings that the container is given, directly or by a file."""
    return {name.removesuffix("_FILE") for name in CONTAINERS[container]["environment"]}


def _below(folders: list[str]) -> set[str]:
    return {str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).glob("*")}
