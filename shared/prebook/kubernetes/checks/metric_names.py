"""Metrics that alerts may use, with their labels. A test compares those of the suite with what services register."""

from collections.abc import Mapping

SUITE_METRICS: Mapping[str, tuple[str, ...]] = {
    "prebook_outbox_waiting": (),
    "prebook_outbox_oldest_age_seconds": (),
    "prebook_outbox_abandoned": ("state", "cause"),
    "prebook_dead_letters": ("service", "cause"),
    "prebook_delay_queue_overdue_seconds": ("queue",),
    "prebook_consumer_circuit_open": ("queue",),
    "prebook_consumer_paused_messages": ("queue",),
    "prebook_provider_circuit_open": ("provider",),
    "prebook_blocked_messages": ("queue", "status"),
    "prebook_blocked_keys": ("queue", "status"),
    "prebook_blocked_oldest_age_seconds": ("queue", "status"),
    "prebook_load_ratio": ("load",),
    "prebook_pending_requests": ("flow", "coupling"),
    "prebook_replies_per_second": ("flow", "coupling"),
    "prebook_http_calls_refused_total": ("reason",),
    "prebook_bookings_swept_total": ("flow",),
    "prebook_db_pool_timeouts_total": (),
    "prebook_event_loop_lag_seconds": (),
}
SERVER_METRICS: Mapping[str, tuple[str, ...]] = {
    "up": (),
    "rabbitmq_alarms_memory_used_watermark": (),
    "rabbitmq_alarms_free_disk_space_watermark": (),
    "cnpg_backends_total": (),
    "cnpg_pg_replication_lag": (),
    "cnpg_pg_stat_archiver_seconds_since_last_archival": (),
}
"""Source: RabbitMQ's plugin for Prometheus; CloudNativePG documentation, Monitoring."""
LABELS_OF_SCRAPES = ("pod", "namespace")
