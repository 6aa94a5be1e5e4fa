"""Normalizer: every message is translated or kept with its cause, and a defect of a translator is no bad message."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.normalizer import ForeignMessage, Normalizer, UnreadableCause, UnreadableMessage, printable

DECIMAL = "text/decimal.v1"
BINARY = "text/binary.v1"
TRANSLATORS: dict[str, Callable[[bytes], int]] = {DECIMAL: int, BINARY: lambda body: int(body, 2)}
NUMBERS = Normalizer(TRANSLATORS)


def foreign_messages() -> st.SearchStrategy[ForeignMessage]:
    digits = st.integers(0, 10_000).map(lambda number: str(number).encode())
    return st.builds(ForeignMessage, st.sampled_from([DECIMAL, BINARY, "text/decimal.v2", ""]), digits | st.binary())


def test_each_format_has_its_translator() -> None:
    assert NUMBERS.read(ForeignMessage(DECIMAL, b"101")) == 101
    assert NUMBERS.read(ForeignMessage(BINARY, b"101")) == 5


@given(st.lists(foreign_messages()))
def test_received_is_translated_plus_unreadable(messages: list[ForeignMessage]) -> None:
    results = [NUMBERS.read(message) for message in messages]
    unreadable = [result for result in results if isinstance(result, UnreadableMessage)]
    assert len(messages) == sum(isinstance(result, int) for result in results) + len(unreadable)
    for result in unreadable:
        is_known = result.message.media_type in NUMBERS.translators
        assert result.cause is (UnreadableCause.GARBLED if is_known else UnreadableCause.UNKNOWN_VERSION)


@given(foreign_messages())
def test_an_unreadable_message_is_kept_as_it_came(message: ForeignMessage) -> None:
    result = NUMBERS.read(message)
    assert isinstance(result, int) or result.message == message


def test_another_error_of_a_translator_is_a_defect() -> None:
    def fail(_: bytes) -> int:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Normalizer({DECIMAL: fail}).read(ForeignMessage(DECIMAL, b""))


@given(st.text(), st.integers(0, 20))
def test_a_foreign_text_is_bounded_and_printable(text: str, max_chars: int) -> None:
    shown = printable(text, max_chars)
    assert len(shown) <= max_chars
    assert shown.isprintable()
    assert shown.isascii()
