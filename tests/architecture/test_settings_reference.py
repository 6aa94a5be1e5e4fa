"""docs/reference/settings.md is up to date and complete."""

import re
from pathlib import Path

import msgspec
import pytest

from prebook.cli.serve import ServeSettings
from prebook.cli.setup import SetupSettings
from prebook.cli.suite_access import ArchiveSettings, BrokerSettings, DatabaseSettings
from prebook.messaging.policy import FlowPolicy
from prebook.runtime.settings import ServiceSettings
from tests.architecture.settings_reference import PAGE, VARIABLES, Variable, render_page

ROOT = Path(__file__).parents[2]
STRUCTS = (ServiceSettings, ServeSettings, SetupSettings, BrokerSettings, DatabaseSettings, ArchiveSettings, FlowPolicy)
SOURCES = ("services", "shared", "loadtest", "migrations", "docker-compose.yml", "deploy", "Makefile")
NAME = re.compile(r"PREBOOK_[A-Z][A-Z_]*[A-Z](?![A-Z_<])")
TEXT_SUFFIXES = frozenset({"", ".py", ".sql", ".toml", ".yml"})


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render_page(), "run `make docs` and commit the page"


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_setting_has_a_description(struct: type[msgspec.Struct]) -> None:
    types = {field.name: msgspec.inspect.type_info(field.type) for field in msgspec.structs.fields(struct)}
    descriptions = {name: (getattr(info, "extra_json_schema", None) or {}) for name, info in types.items()}
    assert [name for name, extra in descriptions.items() if not extra.get("description")] == []


def test_every_variable_that_the_product_reads_is_on_the_page() -> None:
    page = PAGE.read_text()
    names = {name.removesuffix("_FILE") for path in _source_files() for name in NAME.findall(path.read_text())}
    assert {name for name in names if f"`{name}`" not in page and not _is_one_of_many(name, page)} == set()


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_a_listed_variable_is_read_where_the_page_says(variable: Variable) -> None:
    prefix, _, _ = variable.name.partition("<")
    assert prefix in (ROOT / variable.source).read_text()


def _source_files() -> list[Path]:
    roots = [ROOT / source for source in SOURCES]
    files = [path for root in roots for path in (root.rglob("*") if root.is_dir() else [root])]
    return [path for path in files if path.is_file() and path.suffix in TEXT_SUFFIXES]


def _is_one_of_many(name: str, page: str) -> bool:
    """Whether the page documents it by a placeholder, as PREBOOK_URL_<SERVICE> documents PREBOOK_URL_BOOKING."""
    prefixes = re.findall(r"`(PREBOOK_[A-Z_]+_)<", page)
    return any(name.startswith(prefix) or name == prefix.rstrip("_") for prefix in prefixes)
