"""Names and docstrings follow the glossary and the naming rules of CONTRIBUTING."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("services", "shared", "loadtest")
PRODUCT_ROOTS = ("services", "shared")

FORMER_WORDS = {
    "Aside": "DeadLetterPublisher",
    "Doors": "InboundGateway",
    "Holdings": "Leases",
    "Parcel": "DeadLetter",
    "Passenger": "BatchCandidate",
    "Posting": "OutboxMessage",
    "Whereabouts": "SuiteState",
    "announced": "event types",
    "given_up": "abandoned",
    "looked_at": "db_now",
    "order_key": "ordering_key",
    "putting down": "blocking",
    "said_at": "occurred_at",
    "set aside": "dead-lettered",
    "slotless": "unpartitioned",
}
"""Words of the former vocabulary, and what is said instead."""
UNCLEAR_OPENINGS = frozenset(
    {"who", "whom", "whose", "what", "where", "when", "why", "how", "which", "whoever", "whatever"}
    | {"of", "by", "from", "for", "with", "without", "in", "on", "at", "as", "if", "so", "beside", "behind"}
    | {"it", "its", "this", "that", "these", "those", "there", "they", "them"}
    | {"after", "before", "however", "not", "nothing", "only", "over", "raises", "ready", "returns", "until"}
)
"""A docstring that begins with one of these leans on its neighbours, or does not say what the function does."""
REGULAR_VERBS_IN_ED = frozenset({"need", "feed", "shed", "seed", "embed", "proceed", "exceed", "succeed"})


@cache
def _modules(roots: tuple[str, ...]) -> Sequence[tuple[str, ast.Module]]:
    paths = (path for root in roots for path in sorted((ROOT / root).rglob("*.py")))
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths]


def _documented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, docstring) of the module and everything in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def is_participle(name: str) -> bool:
    """Whether a function's name is a past participle, alone or before a preposition: ``sent``, ``played_by``."""
    first = name.strip("_").partition("_")[0]
    return first.endswith("ed") and first not in REGULAR_VERBS_IN_ED


def has_unclear_opening(docstring: str) -> bool:
    """Whether a docstring's first word is in UNCLEAR_OPENINGS."""
    return docstring.split(maxsplit=1)[0].strip("`*:,.").lower() in UNCLEAR_OPENINGS


def undocumented_methods(trees: Sequence[tuple[str, ast.Module]]) -> list[str]:
    """List public methods of public classes without a docstring.

    An override needs none if a base class in ``trees`` documents the method, because that is its contract.
    """
    classes = {node.name: node for _, tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    return [
        f"{path}:{method.lineno} {node.name}.{method.name}"
        for path, tree in trees
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for method in _methods(node)
        if not method.name.startswith("_") and not _is_documented(node, method.name, classes)
    ]


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def _is_documented(node: ast.ClassDef, name: str, classes: Mapping[str, ast.ClassDef]) -> bool:
    """Whether the class, or one that it inherits from, documents the method ``name``."""
    if any(method.name == name and ast.get_docstring(method) for method in _methods(node)):
        return True
    bases = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return any(
        isinstance(base, ast.Name) and base.id in classes and _is_documented(classes[base.id], name, classes)
        for base in bases
    )


def test_no_public_class_name_is_used_twice_in_the_product() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in _modules(PRODUCT_ROOTS):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_functions_that_do_io_are_named_by_imperatives() -> None:
    found = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in _modules(SOURCE_ROOTS)
        if "/domain/" not in path
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef) and is_participle(node.name)
    ]
    assert found == []


def test_docstrings_stand_alone() -> None:
    found = [
        f"{path}:{line} {text.splitlines()[0][:70]}"
        for path, tree in _modules((*SOURCE_ROOTS, "tests"))
        for line, text in _documented(tree)
        if has_unclear_opening(text)
    ]
    assert found == []


def test_the_former_vocabulary_does_not_return() -> None:
    words = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in FORMER_WORDS))
    found = [
        f"{path}:{number} {match[0]!r}: say {FORMER_WORDS[match[0]]!r}"
        for path, _ in _modules(SOURCE_ROOTS)
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        for match in words.finditer(line)
    ]
    assert found == []


def test_attributes_are_assigned_one_per_line() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in _modules(SOURCE_ROOTS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
        and any(isinstance(target, ast.Attribute) for target in node.targets[0].elts)
    ]
    assert found == []


def test_public_functions_and_classes_of_shared_have_docstrings() -> None:
    missing = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in _modules(("shared",))
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert missing == []


def test_public_methods_of_shared_have_docstrings() -> None:
    trees = list(_modules(("shared",)))
    assert undocumented_methods(trees) == []


@pytest.mark.parametrize(
    ("name", "expected"), [("played", True), ("_noted_by", True), ("send", False), ("feed", False)]
)
def test_a_participle_is_recognised(name: str, *, expected: bool) -> None:
    assert is_participle(name) is expected


@pytest.mark.parametrize("text", ["What waits.", "Of a replay: as long as it is.", "``It`` is one.", "Raises Error."])
def test_an_unclear_opening_is_recognised(text: str) -> None:
    assert has_unclear_opening(text)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class A:\n def go(self): ...", ["m:2 A.go"]),
        ("class A:\n def go(self): 'Move.'", []),
        ("class A:\n def go(self): 'Move.'\nclass B(A[int]):\n def go(self): ...", []),
        ("class A:\n def go(self): ...\nclass B(A):\n def go(self): ...", ["m:2 A.go", "m:4 B.go"]),
        ("class B(Unknown):\n def go(self): ...", ["m:2 B.go"]),
        ("class _A:\n def go(self): ...\nclass B:\n def _go(self): ...", []),
    ],
)
def test_an_undocumented_method_is_found(source: str, found: list[str]) -> None:
    assert undocumented_methods([("m", ast.parse(source))]) == found
