"""Settings of a PostgreSQL server that the suite starts, from the wheel or in a container."""

from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    # Five services with up to 16 connections and one listener each, plus spare connections for administrators.
    "max_connections": "240",
    "jit": "off",
    # The server's log is kept with the services' logs: no DETAIL line, which quotes a row with a rider's data.
    "log_error_verbosity": "terse",
    # Outboxes fill and empty within seconds: vacuum at the same interval.
    "autovacuum_naptime": "5s",
    # Query plans depend on indexes, not statistics (prebook.postgres.engine). Each ANALYZE of a busy table would sample
    # 30,000 rows (48 MB) and take 1 % of two cores under load; a tenth is accurate enough.
    "default_statistics_target": "10",
}
ENVIRONMENT: Mapping[str, str] = {
    # glibc malloc: return freed memory to the system (3.4 MB instead of 4.5 MB per connection under load).
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "16384",
}
