"""Findings of the check, each with its step and a remedy."""

from dataclasses import dataclass
from enum import StrEnum


class CheckStep(StrEnum):
    """Step of the check that found something."""

    RENDER = "render"
    SCHEMA = "schema"
    REFERENCE = "reference"
    MODEL = "model"
    POLICY = "policy"


@dataclass(frozen=True, order=True)
class Finding:
    """One error. ``document``: kind and name; ``problem`` and ``remedy`` are for the person who corrects it."""

    step: CheckStep
    document: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.step}: {self.document}: {self.problem}; {self.remedy}"
