"""Prometheus metrics of pricing, created at import: one process runs one service."""

from prometheus_client import Counter, Histogram

from prebook.patterns.enricher import EnrichmentOutcome

_ENRICHMENTS = Counter(
    "prebook_fare_enrichments",
    "Attempts to add a rider's profile to the request for a fare: enriched, skipped, or parked because notification "
    "was away.",
    ("outcome",),
)
_AGE = Histogram(
    "prebook_fare_enrichment_age_seconds",
    "Seconds since notification gave the profile that a fare was quoted with.",
    buckets=(0.0, 1.0, 5.0, 15.0, 60.0, 300.0, 3_600.0),
)


def count_enrichment(outcome: EnrichmentOutcome, age_s: float | None) -> None:
    """Count one attempt. ``age_s``: age of the profile in seconds; None without a profile."""
    _ENRICHMENTS.labels(outcome.value).inc()
    if age_s is not None:
        _AGE.observe(age_s)
