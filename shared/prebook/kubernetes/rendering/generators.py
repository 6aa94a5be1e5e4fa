"""Generators of ConfigMaps and Secrets."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from prebook.text_file import read_text

CONFIG_MAP_FIELDS = frozenset({"name", "files", "envs", "literals"})
SECRET_FIELDS = frozenset({"name", "files"})


def generated_config_maps(folder: Path, generators: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the ConfigMaps of files, environment files and literals. Raises OSError, ValueError."""
    for generator in generators:
        _require_known(generator, CONFIG_MAP_FIELDS)
        data = {PurePath(file).name: _read_within(folder, file) for file in generator.get("files", ())}
        for file in generator.get("envs", ()):
            data |= dict(_pairs(_read_within(folder, file).splitlines()))
        data |= dict(_pairs(generator.get("literals", ())))
        yield _document("ConfigMap", generator["name"], {"data": data})


def generated_secrets(generators: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the Secrets with the names of their keys; the files with the values need not exist. Raises ValueError."""
    for generator in generators:
        _require_known(generator, SECRET_FIELDS)
        data = {PurePath(file).name: "" for file in generator.get("files", ())}
        yield _document("Secret", generator["name"], {"data": data, "type": "Opaque"})


def _document(kind: str, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of each line ``name=value``, without comments and empty lines."""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, separator, value = line.partition("=")
            if not separator:
                raise ValueError(f"{line!r} is no name=value")
            yield name, value


def _read_within(folder: Path, file: str) -> str:
    path = (folder / file).resolve()
    if not path.is_relative_to(folder):
        raise ValueError(f"{file} is outside of its folder, which Kustomize refuses")
    return read_text(path)


def _require_known(generator: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := generator.keys() - known:
        raise ValueError(
            f"{', '.join(sorted(unknown))} of the generator {generator.get('name')} is not understood here"
        )
