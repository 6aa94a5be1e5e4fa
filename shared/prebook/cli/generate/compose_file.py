"""Lines of docker-compose.yml that follow from the model: one for each service or flow, in blocks. Pure.

The rest of the file is written by hand. A block is recognised by the form of its lines.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from prebook.cli.serve import DEFAULT_CONTROL_PORT
from prebook.flows import CONSOLE, FLOWS, PROCESSES, SERVICES
from prebook.kubernetes.names import INTERNAL_PORT


class MissingBlock(ValueError):
    """The file does not have exactly one block of these lines."""


@dataclass(frozen=True)
class ComposeBlock:
    """Adjacent lines of one form. ``indent``: spaces before each. ``name``: regular expression of the variable."""

    indent: int
    name: str
    lines: tuple[str, ...]

    def replace(self, text: str) -> str:
        """Return ``text`` with the lines of this block. Raises MissingBlock."""
        pattern = re.compile(rf"(?m)(?:^ {{{self.indent}}}{self.name}:.*\n)+")
        found = pattern.findall(text)
        if len(found) != 1:
            raise MissingBlock(f"{len(found)} blocks of {self.name}: the lines must stand together, once")
        lines = "".join(f"{' ' * self.indent}{line}\n" for line in self.lines)
        return pattern.sub(lambda _: lines, text)


def _urls(variable: str, names: Iterable[str], port: int) -> tuple[str, ...]:
    return tuple(f"{variable}_{name.upper()}: http://{name}:{port}" for name in names)


CONSOLE_CONTAINER = "lab"
BLOCKS = (
    ComposeBlock(2, "PREBOOK_INTERNAL_URL_[A-Z]+", _urls("PREBOOK_INTERNAL_URL", SERVICES, INTERNAL_PORT)),
    ComposeBlock(6, "PREBOOK_COUPLING_[A-Z_]+", tuple(f"PREBOOK_COUPLING_{flow.upper()}:" for flow in FLOWS)),
    ComposeBlock(
        6,
        "PREBOOK_CONTROL_(?!TOKEN)[A-Z]+",
        (
            *_urls("PREBOOK_CONTROL", PROCESSES, DEFAULT_CONTROL_PORT),
            f"PREBOOK_CONTROL_CONSOLE: http://{CONSOLE_CONTAINER}:{DEFAULT_CONTROL_PORT}",
        ),
    ),
    ComposeBlock(
        6,
        "PREBOOK_CONTROL_TOKEN_(?!SHA256)[A-Z]+_FILE",
        tuple(
            f"PREBOOK_CONTROL_TOKEN_{name.upper()}_FILE: /run/prebook/{CONSOLE}/{name}_control_token"
            for name in (*PROCESSES, CONSOLE)
        ),
    ),
)
"""Addresses of the services, couplings of the flows, and addresses and tokens of the supervisors."""


def compose_file(text: str) -> str:
    """Return the text of docker-compose.yml with the lines of the model. Raises MissingBlock."""
    for block in BLOCKS:
        text = block.replace(text)
    return text
