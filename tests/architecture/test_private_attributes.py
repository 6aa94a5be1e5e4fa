"""Private attributes of libraries may change in any release, so only the modules named here may use any."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("services", "shared", "loadtest")
PRIVATE = re.compile(r"_(?!_)")
DOCUMENTED = frozenset({"_asdict", "_fields", "_make", "_replace", "_exit"})
"""Public in spite of their names: methods of named tuples, and ``os._exit``."""
EXCEPTIONS = {"shared/prebook/postgres/pool.py": ("sqlalchemy", "2.1.9", {"_invalidate_time", "_pool"})}
"""Module -> the library, its version whose source was read, and the attributes. The module says why it needs them."""
MODULES = sorted(path for root in SOURCE_ROOTS for path in (ROOT / root).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _pinned_version(library: str) -> str:
    pinned: list[str] = re.findall(rf"^{library}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    (version,) = pinned
    return version


def test_no_module_uses_a_private_attribute_of_a_library() -> None:
    used = {_name(path): set(_private_uses(ast.parse(path.read_text()))) for path in MODULES}

    assert {name: attributes for name, attributes in used.items() if attributes} == {
        name: attributes for name, (_, _, attributes) in EXCEPTIONS.items()
    }


@pytest.mark.parametrize(("library", "version"), [(library, version) for library, version, _ in EXCEPTIONS.values()])
def test_the_private_attributes_were_checked_in_the_pinned_version(library: str, version: str) -> None:
    """Check the attributes in EXCEPTIONS in the source of a new version, then update the version there."""
    assert _pinned_version(library) == version


@pytest.mark.parametrize(
    "source",
    [
        "from library import _internal",
        "from library._core import thing",
        "def close(channel): channel._connection.close()",
        "from library import Pool\nclass Own(Pool):\n def get(self): return self._queue",
        "from library import Pool\nclass Own(Pool):\n def get(self): return super()._get()",
        "import library\nclass Own(library.Pool):\n def get(self): return self._queue",
    ],
)
def test_a_private_use_is_found(source: str) -> None:
    assert list(_private_uses(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "from prebook.messaging.codec import _encode",
        "class Own:\n def get(self): return self._queue",
        "from library import Pool\nclass Own(Pool):\n def get(self): self._queue = self._new()\n def _new(self): ...",
        "from prebook.rabbit.consumer import Own\nclass Mine(Own):\n def get(self): return super()._get()",
        "import os\nos._exit(1)",
    ],
)
def test_a_private_use_of_the_same_class_is_no_finding(source: str) -> None:
    assert list(_private_uses(ast.parse(source))) == []


def _private_uses(tree: ast.Module) -> Iterator[str]:
    """Yield private names imported from libraries, and private attributes of other objects or of a library's class."""
    libraries = set(_library_names(tree))
    inherited = {id(node) for owner in _classes_on(libraries, tree) for node in _inherited_uses(owner)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level and _is_library(node.module):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            yield from (part for part in parts if PRIVATE.match(part))
        elif isinstance(node, ast.Attribute) and (id(node) in inherited or not _is_own_object(node.value)):
            yield from (name for name in (node.attr,) if PRIVATE.match(name) and name not in DOCUMENTED)


def _is_library(module: str) -> bool:
    return module.partition(".")[0] not in {"prebook", "__future__"}


def _library_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and _is_library(node.module):
            yield from (alias.asname or alias.name for alias in node.names)


def _classes_on(libraries: set[str], tree: ast.Module) -> Iterator[ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = {re.split(r"[.\[]", ast.unparse(base))[0] for base in node.bases}
            if bases & libraries:
                yield node


def _inherited_uses(owner: ast.ClassDef) -> Iterator[ast.Attribute]:
    """Private attributes of ``self`` that the class neither defines nor assigns, and those of ``super()``."""
    attributes = [node for node in ast.walk(owner) if isinstance(node, ast.Attribute)]
    defined = {node.name for node in owner.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    for node in attributes:
        through_super = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
        if through_super or (_is_own_object(node.value) and node.attr not in defined | assigned):
            yield node


def _is_own_object(value: ast.expr) -> bool:
    return ast.unparse(value) in {"self", "cls", "super()"}
