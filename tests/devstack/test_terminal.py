"""Output of the commands: no text of a stranger controls the terminal, and JSON is exact."""

import re
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import msgspec
import pytest
from click.testing import CliRunner

from prebook.cli import ordering, outbox
from prebook.cli.main import main
from prebook.cli.parking import command as parking
from prebook.contracts.dead_letters import DeadLetterPage, DeadLetterView, FailureGroups
from prebook.devstack.terminal import PlainConsole, escape_controls
from prebook.postgres.outbox_admin import OutboxRow

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
HOSTILE = "[/x][red]\x1b]0;title\x07\r\x9b2J\u202egpj.exe\u2066\x7f\x00"
SHOWN = r"[/x][red]\x1b]0;title\x07\r\x9b2J\u202egpj.exe\u2066\x7f\x00"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
PRINTS_ITSELF = re.compile(r"\bclick\.(secho|echo|echo_via_pager)\(|rich(\.console)? import .*(\bConsole|\bprint)\b")


SIMPLE_VALUES: dict[type, object] = {
    msgspec.inspect.IntType: 1,
    msgspec.inspect.FloatType: 1.0,
    msgspec.inspect.BoolType: False,
    msgspec.inspect.DateTimeType: "2026-11-24T12:00:00Z",
}


def hostile(type_: type[T], text: str = HOSTILE) -> T:
    """Return a value of the type whose every free text is ``text``."""
    return msgspec.convert(_sample(msgspec.inspect.type_info(type_), text), type_)


def _sample(info: msgspec.inspect.Type, text: str) -> object:
    if isinstance(info, msgspec.inspect.StructType):
        return {field.encode_name: _sample(field.type, text) for field in info.fields}
    if isinstance(info, (msgspec.inspect.VarTupleType, msgspec.inspect.ListType)):
        return [_sample(info.item_type, text)]
    if isinstance(info, msgspec.inspect.UnionType):
        return _sample(info.types[0], text)
    if isinstance(info, msgspec.inspect.DictType):
        return {_sample(info.key_type, text): _sample(info.value_type, text)}
    if isinstance(info, msgspec.inspect.EnumType):
        return next(iter(info.cls)).value
    return SIMPLE_VALUES.get(type(info), text)


def run_command(monkeypatch: pytest.MonkeyPatch, module: ModuleType, answer: object, *arguments: str) -> str:
    monkeypatch.setattr(module, "call_operations", lambda *_, **__: answer)
    result = CliRunner(env={"COLUMNS": "2000"}).invoke(main, ["parking", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


PARKING = [
    (DeadLetterPage, ("list",)),
    (FailureGroups, ("failure-groups",)),
    (DeadLetterView, ("show", "17")),
]


@pytest.mark.parametrize(("answer_type", "arguments"), PARKING)
def test_dead_letters_cannot_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, answer_type: type, arguments: tuple[str, ...]
) -> None:
    output = run_command(monkeypatch, parking, hostile(answer_type), *arguments)
    assert SHOWN in output
    assert CONTROLS.findall(output) == []


@pytest.mark.parametrize(("answer_type", "arguments"), PARKING)
def test_json_is_exact(monkeypatch: pytest.MonkeyPatch, answer_type: type, arguments: tuple[str, ...]) -> None:
    answer: object = hostile(answer_type)
    output = run_command(monkeypatch, parking, answer, *arguments, "--json")
    assert msgspec.json.decode(output, type=answer_type) == answer


def test_a_value_cannot_imitate_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    view = hostile(DeadLetterView, "text\nstate            discarded")
    output = run_command(monkeypatch, parking, view, "show", "17")
    assert "\nstate            discarded" not in output
    assert "text\\nstate" in output


def test_tables_of_rows_and_keys_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole(width=2000)
    console.print(outbox._table([hostile(OutboxRow)]))
    console.print(ordering._table(hostile(ordering.BlockedKeyListing)))
    output = capsys.readouterr().out
    assert output.count(SHOWN) >= 4
    assert CONTROLS.findall(output) == []


@pytest.mark.parametrize("text", ["", "Zürich, 12 €", "東京"])
def test_printable_text_is_unchanged(text: str) -> None:
    assert escape_controls(text) == text


def test_every_command_prints_by_one_module() -> None:
    modules = [path for root in ("shared", "loadtest") for path in (ROOT / root).rglob("*.py")]
    found = [str(path) for path in modules if PRINTS_ITSELF.search(path.read_text()) and path.name != "terminal.py"]
    found += [str(p) for p in modules if p.match("lab/*/terminal.py") and PRINTS_ITSELF.search(p.read_text())]
    assert found == []


def test_half_of_a_surrogate_pair_is_shown() -> None:
    assert escape_controls("\ud800") == r"\ud800"
