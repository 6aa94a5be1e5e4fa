"""Quantities of Kubernetes: processor time and memory. Source: Kubernetes API conventions, Quantity."""

import re

QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
FACTORS = {"": 1.0, "m": 1e-3} | {
    unit: 1000.0**power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), start=1)
}
FACTORS |= {unit: 1024.0**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}


def parse_quantity(text: object) -> float | None:
    """Return a quantity as a number (of cores, of bytes), or None if it is none: ``192MB`` is refused."""
    match = QUANTITY.fullmatch(str(text)) if isinstance(text, str | int) and not isinstance(text, bool) else None
    return float(match[1]) * FACTORS[match[2] or ""] if match else None
