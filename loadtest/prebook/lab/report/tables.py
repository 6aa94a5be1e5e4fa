"""Tables of the HTML report."""

from collections.abc import Iterator, Sequence

from prebook.contracts.auctions import OFFER_COLUMNS, OfferCounts, completion_text, offer_rows
from prebook.lab.ledger.discrepancies import Discrepancy
from prebook.lab.ledger.reconciliation import LEDGER_CLASSES, LEDGER_VIOLATIONS
from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.matrix import MatrixRow, plan_labels
from prebook.lab.report.model import PlanResult

MATRIX_CAPTION = "Failure matrix: answered rides of all rides offered before, during and after each fault"
COLUMN_NAMES = {"dead_lettered": "dead-lettered", "in_flight": "in flight"}


def ledger_table(scenario: str, results: Sequence[PlanResult]) -> Markup:
    """Return the ledger of each plan in a scenario, with recovery time and failed requests."""
    column_names = [COLUMN_NAMES.get(name, name) for name in (*LEDGER_CLASSES, *LEDGER_VIOLATIONS)]
    heads = ["plan", *column_names, "recovery", "failed requests"]
    return tag(
        "table",
        tag(
            "caption",
            "Ledger: every offered ride is in exactly one class; lost and duplicated rides are counted separately",
        ),
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag("tbody", [tag("tr", ledger_cells(scenario, result), class_=f"plan {result.label}") for result in results]),
    )


def ledger_cells(scenario: str, result: PlanResult) -> Iterator[Markup]:
    """Yield the cells of one plan's row; their ids are those of the numbers in report.json."""
    prefix = f"{scenario}.{result.label}"
    yield tag("th", result.label, scope="row")
    for name in LEDGER_CLASSES:
        count = getattr(result.ledger, name)
        yield tag("td", count, id=f"{prefix}.ledger.{name}", class_=None if count else "nil")
    for name in LEDGER_VIOLATIONS:
        count = getattr(result.ledger, name)
        yield tag("td", count, id=f"{prefix}.ledger.{name}", class_="bad" if count else "good")
    yield tag("td", "-" if result.recovery_s is None else f"{result.recovery_s:.1f} s", id=f"{prefix}.recovery_s")
    failures = ", ".join(f"{count} {name}" for name, count in result.errors.items() if count)
    yield tag("td", failures or "-", id=f"{prefix}.errors")


def offers_table(scenario: str, offers: OfferCounts) -> Markup:
    """Return the replies of the partner fleets in a scenario, by fleet and verdict."""
    heads = ("fleet", *OFFER_COLUMNS)
    return tag(
        "table",
        tag("caption", f"Replies of the partner fleets: {completion_text(offers)}", id=f"{scenario}.offers"),
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag(
            "tbody",
            [
                tag("tr", tag("th", fleet, scope="row"), offer_cells(f"{scenario}.offers.{fleet}", counts))
                for fleet, *counts in offer_rows(offers)
            ],
        ),
    )


def offer_cells(prefix: str, counts: Sequence[str]) -> list[Markup]:
    """Return the cells of one fleet's row."""
    return [tag("td", count, id=f"{prefix}.{name}") for name, count in zip(OFFER_COLUMNS, counts, strict=True)]


def matrix_table(rows: Sequence[MatrixRow]) -> Markup:
    """Return the failure matrix; the row of an unmeasured fault states the reason."""
    labels = plan_labels(rows)
    heads = [tag("th", "fault", scope="col"), *(tag("th", label, scope="col") for label in labels)]
    return tag(
        "table",
        tag("caption", MATRIX_CAPTION),
        tag("thead", tag("tr", heads)),
        tag("tbody", [tag("tr", matrix_cells(row, len(labels))) for row in rows]),
        class_="matrix",
    )


def matrix_cells(row: MatrixRow, plans: int) -> Iterator[Markup]:
    """Yield the cells of one fault's row."""
    duration = "" if row.duration_s is None else f", {row.duration_s:.1f} s"
    name = tag("a", row.scenario, href=f"#{row.scenario}") if row.cells else row.scenario
    yield tag("th", name, tag("small", f"{row.fault}{duration}", id=f"matrix.{row.scenario}"), scope="row")
    if not row.cells:
        yield tag(
            "td",
            f"not measured: {row.not_measured_reason}",
            colspan=max(plans, 1),
            class_="nil",
            id=f"matrix.{row.scenario}.reason",
        )
    for cell in row.cells:
        recovery = "recovery not measured" if cell.recovery_s is None else f"recovered after {cell.recovery_s:.1f} s"
        violations = f"{cell.lost} lost, {cell.duplicated} duplicated"
        yield tag(
            "td",
            tag("strong", f"{cell.answered} of {cell.offered}"),
            tag("small", f"{cell.accepted} accepted, {cell.settled} settled"),
            tag("small", violations, class_="bad" if cell.lost or cell.duplicated else "good"),
            tag("small", recovery),
            id=f"matrix.{row.scenario}.{cell.label}",
            class_="whole" if cell.all_answered else "short",
        )


def discrepancy_table(scenario: str, discrepancies: Sequence[Discrepancy]) -> Markup:
    """Return all discrepancies between the three sources in a scenario."""
    heads = ("kind", "plan", "booking", "key", "detail")
    return tag(
        "table",
        tag("caption", "Discrepancies between generator, booking and notification"),
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag(
            "tbody",
            [
                tag("tr", discrepancy_cells(item), id=f"{scenario}.discrepancies.{position}")
                for position, item in enumerate(discrepancies)
            ],
        ),
        class_="discrepancies",
    )


def discrepancy_cells(item: Discrepancy) -> list[Markup]:
    """Return the cells of one discrepancy's row."""
    return [tag("td", text) for text in (item.kind.value, item.label, item.booking_id or "-", item.key, item.detail)]
