"""Negative tests of types: a wrong reference to a service, flow, exchange, queue or party is a type error."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from prebook.lab.experiments.model.wrong_references import RIGHT, WRONG, type_errors

pytest.importorskip("mypy.api", reason="mypy is installed by `make install`")


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[str]]:
    """Errors of mypy by the statement that has them, from one run on all statements."""
    statements = [*RIGHT, *(statement for statement, _ in WRONG.values())]
    return asyncio.run(type_errors(tmp_path_factory.mktemp("references"), statements))


@pytest.mark.timeout(300)
def test_right_references_have_no_error(errors: Mapping[str, Sequence[str]]) -> None:
    assert errors.keys() == {statement for statement, _ in WRONG.values()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("statement", "expected"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_reference_is_a_type_error(statement: str, expected: str, errors: Mapping[str, Sequence[str]]) -> None:
    (message,) = errors[statement]
    assert expected in message
