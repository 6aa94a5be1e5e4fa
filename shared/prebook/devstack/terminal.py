"""Output to a terminal: the only place where commands print.

Messages, logs and databases hold texts from untrusted senders. A control character or a bidirectional override would be
carried out by the terminal, and a bracketed word would be read as markup. Both are shown instead.
"""

from collections.abc import Iterable
from typing import Any

import rich_click as click
from rich.console import Console
from rich.text import Text

LINE_CHARACTERS = frozenset("\n\t")


def escape_controls(text: str, keep: frozenset[str] = frozenset()) -> str:
    r"""Return ``text`` with each unprintable character that is not in ``keep`` as an escape such as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def echo(output: str | bytes, *, nl: bool = True, err: bool = False) -> None:
    """Print a text with its unprintable characters escaped, or the bytes of a JSON document as they are."""
    click.echo(output if isinstance(output, bytes) else escape_controls(output, LINE_CHARACTERS), nl=nl, err=err)


def echo_lines(lines: Iterable[str]) -> None:
    """Print each text on one line: a line break within it is escaped, so that no value can imitate a line."""
    click.echo("\n".join(map(escape_controls, lines)))


class PlainConsole(Console):
    """Rich console for tables: texts are shown as they are, without markup and with control characters escaped."""

    def __init__(self, **options: Any) -> None:
        """``options``: as for ``rich.console.Console``."""
        super().__init__(**options, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text to be shown for ``text``."""
        return super().render_str(escape_controls(text, LINE_CHARACTERS), **options)
