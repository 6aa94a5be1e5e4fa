"""The report's tables."""

from collections.abc import Iterator, Sequence

from loadtest.discrepancies import Discrepancy
from loadtest.markup import Markup, tag
from loadtest.report import Result

CLASSES = ("offered", "confirmed", "rejected", "refused", "failed", "expired", "parked", "in_flight")
BESIDE = ("lost", "duplicated_effects")
NAMES = {"in_flight": "in flight", "duplicated_effects": "doubled"}


def ledger_table(results: Sequence[Result]) -> Markup:
    words = [NAMES.get(name, name) for name in (*CLASSES, *BESIDE)]
    heads = ["plan", *words, "recovery", "requests that failed"]
    return tag(
        "table",
        tag("caption", "Ledger: every ride offered is in exactly one class; lost and doubled are counted beside"),
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag("tbody", [tag("tr", ledger_cells(result), class_=f"plan {result.label}") for result in results]),
    )


def ledger_cells(result: Result) -> Iterator[Markup]:
    yield tag("th", result.label, scope="row")
    for name in CLASSES:
        count = getattr(result.ledger, name)
        yield tag("td", count, class_=None if count else "nil")
    for name in BESIDE:
        count = getattr(result.ledger, name)
        yield tag("td", count, class_="bad" if count else "good")
    yield tag("td", "-" if result.recovery_s is None else f"{result.recovery_s:.1f} s")
    yield tag("td", ", ".join(f"{count} {name}" for name, count in result.errors.items() if count) or "-")


def discrepancy_table(found: Sequence[Discrepancy]) -> Markup:
    heads = ("kind", "plan", "booking", "key", "what")
    return tag(
        "table",
        tag("caption", "Where the sources disagree"),
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag("tbody", [tag("tr", discrepancy_cells(item)) for item in found]),
        class_="discrepancies",
    )


def discrepancy_cells(item: Discrepancy) -> list[Markup]:
    return [tag("td", text) for text in (item.kind.value, item.label, item.booking_id or "-", item.key, item.detail)]
