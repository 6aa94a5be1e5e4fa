"""The parts of a verdict. Words about numbers, each with the numbers in it."""

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    scenario: str
    text: str


class TradeOff(msgspec.Struct, frozen=True, kw_only=True):
    """Where one plan won in this run, and what it cost."""

    label: str
    wins: tuple[str, ...]
    costs: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    """False where anything was lost, doubled or left open, or a fault did not take effect: exit status 1."""
    headline: str
    problems: tuple[str, ...]
    """Why it is not ok."""
    warnings: tuple[str, ...]
    """What limits how far the numbers carry."""
    findings: tuple[Finding, ...]
    trade_offs: tuple[TradeOff, ...]
    not_measured: tuple[str, ...]
